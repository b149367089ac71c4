//! Devices by name. This is the only module that names a backend.

#[cfg(any(feature = "remote", test))]
mod relay;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "remote")]
pub mod server;

use std::{
    env::{self, VarError},
    fmt,
    panic::{self, AssertUnwindSafe},
    str::FromStr,
};

use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

/// The name of a device: `cpu`, `cuda:1`, `wgpu`, or `ws://HOST:PORT` for a device of a
/// Burn server (`server`, with the feature `remote`).
///
/// Without an index, the backend chooses the device; with one, it is the device at that position
/// in the list of [`available`]. Further devices of a server are `ws://HOST:PORT/INDEX`.
///
/// ```
/// use fcos_burn_detect::device::DeviceName;
///
/// let name: DeviceName = "cuda:1".parse()?;
/// assert_eq!(name.to_string(), "cuda:1");
/// assert!("gpu".parse::<DeviceName>().is_err());
/// # Ok::<(), fcos_burn_detect::device::DeviceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeviceName(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Local {
        backend: Backend,
        index: Option<usize>,
    },
    Remote {
        address: String,
        index: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Cpu,
    Cuda,
    Wgpu,
    Vulkan,
}

/// The environment variable with the secret of a Burn server.
pub const TOKEN_VARIABLE: &str = "FCOS_REMOTE_TOKEN";

/// The secret in [`TOKEN_VARIABLE`], if it is set.
///
/// # Errors
///
/// Fails if it is not valid Unicode. Without a token, a server would admit anyone.
pub fn token() -> Result<Option<String>, TokenError> {
    match env::var(TOKEN_VARIABLE) {
        Ok(token) => Ok(Some(token)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(TokenError),
    }
}

/// The secret in [`TOKEN_VARIABLE`] is not valid Unicode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {TOKEN_VARIABLE} is not valid Unicode")]
pub struct TokenError;

/// Number format of activations, or of the products of convolutions, on a device. Weights,
/// normalization, losses and the optimizer are always in 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 32-bit floats, but convolutions multiply 16-bit brain floats, and add up their products in 32 bits.
    /// Only for the CPU, if its processor has AVX-512 BF16: convolutions then take less time.
    /// [`DeviceName::open`] checks this. On a device that was opened by other means, it may be the same as
    /// [`F32`](Self::F32).
    Bf16Products,
    /// 16-bit brain floats.
    Bf16,
    /// 16-bit IEEE floats.
    F16,
}

/// The number of bytes exchanged with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// To the server.
    pub sent: u64,
    /// From the server.
    pub received: u64,
}

/// Why a device is unavailable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no device of this name.
    #[error(
        "unknown device '{name}': expected one of {known}, optionally with :INDEX, or \
         ws://HOST:PORT"
    )]
    Unknown {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// The program was built without the backend.
    #[error("device '{name}' is not built in: it needs the feature '{feature}' of fcos-burn")]
    NotBuilt {
        /// The device.
        name: String,
        /// The cargo feature that enables it.
        feature: &'static str,
    },
    /// The machine has no such device, or its driver does not respond.
    #[error("device '{name}' is unavailable: {cause}")]
    Unavailable {
        /// The device.
        name: String,
        /// The message of the driver.
        cause: String,
    },
    /// The connection to a device of another machine ended, or its server no longer answers.
    #[error("device '{name}' was lost: {cause}")]
    Lost {
        /// The device.
        name: String,
        /// What happened.
        cause: String,
    },
    /// The device does not support the number format.
    #[error("device '{name}' does not support {precision}")]
    Precision {
        /// The device.
        name: String,
        /// The format.
        precision: Precision,
    },
}

impl DeviceName {
    /// The CPU.
    pub const CPU: Self = Self(Place::Local {
        backend: Backend::Cpu,
        index: None,
    });

    /// Opens the device and runs a test computation on it.
    ///
    /// From then on, the server of a remote device is asked every 5 seconds whether it still
    /// answers. After 20 seconds without an answer, or once the connection ends, the device is
    /// lost: operations that wait for it fail or panic ([`on_devices`] makes both a
    /// [`DeviceError::Lost`]). Opening it again connects to a server that has restarted; tensors
    /// that were on it are gone.
    ///
    /// # Errors
    ///
    /// Fails if the backend is not built in, or if the device does not respond or does not support
    /// `precision`. A server that refuses connections is tried again for 10 seconds.
    pub fn open(&self, precision: Precision) -> Result<Device, DeviceError> {
        let device = guarded(|| self.find());
        let device = device.unwrap_or_else(|cause| Err(self.unavailable(&cause)))?;
        let tested = guarded(|| {
            let sum = Tensor::<1>::ones([2], &device)
                .sum()
                .try_into_scalar::<f32>();
            match sum {
                Ok(2.0) if self.supports(&device, precision) => Ok(()),
                Ok(2.0) => Err(DeviceError::Precision {
                    name: self.to_string(),
                    precision,
                }),
                Ok(other) => Err(self.unavailable(&format!("it computes 1 + 1 = {other}"))),
                Err(error) => Err(self.unavailable(&error.to_string())),
            }
        });
        let tested = tested.unwrap_or_else(|cause| Err(self.unavailable(&cause)));
        match tested {
            Ok(()) => Ok(device),
            Err(error @ DeviceError::Precision { .. }) => Err(error),
            // Why a remote device is lost says more than what failed because of it.
            Err(error) => Err(self.lost_soon().unwrap_or(error)),
        }
    }

    /// Whether the device, which has this name, supports a format.
    fn supports(&self, device: &Device, precision: Precision) -> bool {
        match (precision, &self.0) {
            (
                Precision::Bf16Products,
                Place::Local {
                    backend: Backend::Cpu,
                    ..
                },
            ) => multiplies_bf16(),
            (Precision::Bf16Products, _) => false,
            _ => device.supports_dtype(precision.dtype()),
        }
    }

    /// Whether the device belongs to another machine.
    pub fn is_remote(&self) -> bool {
        self.server().is_some()
    }

    /// The error of a remote device that was opened and is now lost.
    pub fn lost(&self) -> Option<DeviceError> {
        #[cfg(feature = "remote")]
        if let Place::Remote { address, .. } = &self.0 {
            return remote::lost(address).map(|cause| DeviceError::Lost {
                name: self.to_string(),
                cause,
            });
        }
        None
    }

    /// Like [`lost`](Self::lost), after an operation on the device has failed: that can be shortly
    /// before the cause is known.
    fn lost_soon(&self) -> Option<DeviceError> {
        #[cfg(feature = "remote")]
        if self.is_remote() {
            return remote::lost_soon(|| self.lost());
        }
        None
    }

    /// The server of a remote device, `HOST:PORT`.
    pub fn server(&self) -> Option<&str> {
        match &self.0 {
            Place::Remote { address, .. } => Some(address),
            Place::Local { .. } => None,
        }
    }

    /// How many bytes were exchanged with the server of a remote device since the first of its
    /// devices was opened.
    pub fn traffic(&self) -> Option<Traffic> {
        #[cfg(feature = "remote")]
        if let Place::Remote { address, .. } = &self.0 {
            return remote::traffic(address);
        }
        None
    }

    fn find(&self) -> Result<Device, DeviceError> {
        match &self.0 {
            Place::Local { backend, index } => {
                if !backend.is_built() {
                    return Err(self.not_built(backend.feature()));
                }
                let devices = backend.devices();
                let count = match devices.len() {
                    0 => return Err(self.unavailable("this machine has none")),
                    count => count,
                };
                match index {
                    None => backend.default_device(),
                    Some(index) => devices.into_iter().nth(*index),
                }
                .ok_or_else(|| {
                    self.unavailable(&format!("this machine has {count}, counting from 0"))
                })
            }
            Place::Remote { address, index } => self.connect(address, *index),
        }
    }

    #[cfg(feature = "remote")]
    fn connect(&self, address: &str, index: usize) -> Result<Device, DeviceError> {
        remote::connect(address, index).map_err(|cause| self.unavailable(&cause))
    }

    #[cfg(not(feature = "remote"))]
    fn connect(&self, _address: &str, _index: usize) -> Result<Device, DeviceError> {
        Err(self.not_built("remote"))
    }

    fn not_built(&self, feature: &'static str) -> DeviceError {
        DeviceError::NotBuilt {
            name: self.to_string(),
            feature,
        }
    }

    fn unavailable(&self, cause: &str) -> DeviceError {
        DeviceError::Unavailable {
            name: self.to_string(),
            cause: cause.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

/// Runs `work`, which computes on `devices`. If one of them is lost meanwhile, its error or panic
/// becomes the [`DeviceError::Lost`] of that device.
///
/// # Errors
///
/// Those of `work`, and [`DeviceError::Lost`].
///
/// # Panics
///
/// If `work` panics and none of the devices is lost.
pub fn on_devices<T, E: From<DeviceError>>(
    devices: &[DeviceName],
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if !devices.iter().any(DeviceName::is_remote) {
        return work();
    }
    let lost = || {
        let mut remote = devices.iter().filter(|device| device.is_remote());
        remote.find_map(DeviceName::lost_soon)
    };
    naming_loss(work, |_| lost())
}

/// Runs `work`. If it fails or panics, calls `lost` with the error, or with `None` after a panic. An
/// error that `lost` returns replaces the error or the panic.
///
/// # Errors
///
/// The error of `work`, or the one that `lost` returns in its place.
///
/// # Panics
///
/// If `work` panics and `lost` returns `None`.
pub fn naming_loss<T, E: From<DeviceError>>(
    work: impl FnOnce() -> Result<T, E>,
    lost: impl FnOnce(Option<&E>) -> Option<DeviceError>,
) -> Result<T, E> {
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| lost(Some(&error)).map_or(error, E::from)),
        Err(payload) => match lost(None) {
            Some(error) => Err(error.into()),
            None => panic::resume_unwind(payload),
        },
    }
}

/// Makes the allocator keep freed memory for its next use, so that steps on the CPU take less time. The
/// process then holds at least the memory of its largest step until it ends. Call it at the start of
/// `main`: it has no effect if other threads are already running, without glibc, with a custom global
/// allocator, or if the CPU is not built in.
pub fn keep_freed_memory() {
    #[cfg(feature = "flex")]
    fcos_burn_cpu::keep_freed_memory();
}

/// Returns the memory that is free now to the operating system, even after [`keep_freed_memory`]: for the
/// moment after something that takes much memory only once, such as loading weights. It has no effect
/// without glibc, or if the CPU is not built in.
pub fn return_freed_memory() {
    #[cfg(feature = "flex")]
    fcos_burn_cpu::return_freed_memory();
}

/// Whether the CPU multiplies 16-bit brain floats faster than 32-bit floats.
fn multiplies_bf16() -> bool {
    #[cfg(feature = "flex")]
    return fcos_burn_cpu::ProductFormat::Bf16.is_supported();
    #[cfg(not(feature = "flex"))]
    false
}

/// Whether both devices are on this machine, or on the same other one.
pub fn on_one_machine(a: &Device, b: &Device) -> bool {
    #[cfg(feature = "remote")]
    {
        remote::on_one_machine(a, b)
    }
    #[cfg(not(feature = "remote"))]
    {
        let _ = (a, b);
        true
    }
}

/// Whether `device` is the CPU of this machine, with or without autodiff. Always false without the feature
/// `flex`.
pub fn is_cpu(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    {
        *device == Device::flex()
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// Whether `device` belongs to another machine.
pub fn is_remote(device: &Device) -> bool {
    #[cfg(feature = "remote")]
    {
        remote::is_remote(device)
    }
    #[cfg(not(feature = "remote"))]
    {
        let _ = device;
        false
    }
}

/// After a failure or a panic: the error of a remote device that was opened in this process and is
/// lost, which may be the cause.
pub fn any_lost() -> Option<DeviceError> {
    #[cfg(feature = "remote")]
    {
        remote::lost_soon(remote::any_lost).map(|(address, cause)| DeviceError::Lost {
            name: format!("ws://{address}"),
            cause,
        })
    }
    #[cfg(not(feature = "remote"))]
    {
        None
    }
}

/// The result of `work`, or the message of its panic: backends panic if a driver is missing.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("its driver failed")
            .to_owned()
    })
}

impl Backend {
    const ALL: [Self; 4] = [Self::Cpu, Self::Cuda, Self::Wgpu, Self::Vulkan];

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
        }
    }

    /// The cargo feature that enables it.
    fn feature(self) -> &'static str {
        match self {
            Self::Cpu => "flex",
            other => other.name(),
        }
    }

    fn is_built(self) -> bool {
        match self {
            Self::Cpu => cfg!(feature = "flex"),
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
        }
    }

    /// The default device of the backend, if it has one; its driver may fail.
    fn default_device(self) -> Option<Device> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Some(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
            other => other.devices().into_iter().next(),
        }
    }

    /// All devices that the backend finds on this machine.
    fn devices(self) -> Vec<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Cpu => vec![Device::flex()],
            #[cfg(feature = "cuda")]
            Self::Cuda => enumerate(burn::tensor::DeviceType::Cuda),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => enumerate(burn::tensor::DeviceType::Wgpu),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => enumerate(burn::tensor::DeviceType::Vulkan),
            #[allow(unreachable_patterns)]
            _ => Vec::new(),
        }
    }
}

#[cfg(any(feature = "cuda", feature = "wgpu", feature = "vulkan"))]
fn enumerate(kind: burn::tensor::DeviceType) -> Vec<Device> {
    Device::enumerate(kind).into_iter().collect()
}

/// A device that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AvailableDevice {
    /// Its name.
    pub name: DeviceName,
    /// The name that the device reports.
    pub description: String,
    /// The number formats that it supports.
    pub precisions: Vec<Precision>,
}

/// A backend and its devices on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AvailableBackend {
    /// The name of the backend, with which the names of its devices start.
    pub name: &'static str,
    /// The cargo feature that enables it.
    pub feature: &'static str,
    /// Whether it is built in.
    pub built: bool,
    /// The devices that respond.
    pub devices: Vec<AvailableDevice>,
}

/// Finds the devices of this machine. Opens each of them.
pub fn available() -> Vec<AvailableBackend> {
    Backend::ALL
        .into_iter()
        .map(|backend| {
            // The CPU is a single device; the others have an index.
            let indexed = backend != Backend::Cpu;
            let devices = guarded(|| backend.devices()).unwrap_or_default();
            let devices = devices.iter().enumerate().filter_map(|(index, device)| {
                let name = DeviceName(Place::Local {
                    backend,
                    index: indexed.then_some(index),
                });
                name.open(Precision::F32).ok()?;
                let precisions = Precision::ALL.into_iter();
                guarded(|| AvailableDevice {
                    description: description(device),
                    precisions: precisions
                        .filter(|precision| name.supports(device, *precision))
                        .collect(),
                    name,
                })
                .ok()
            });
            AvailableBackend {
                name: backend.name(),
                feature: backend.feature(),
                built: backend.is_built(),
                devices: devices.collect(),
            }
        })
        .collect()
}

fn description(device: &Device) -> String {
    #[cfg(any(feature = "cuda", feature = "wgpu", feature = "vulkan"))]
    if let Some(identity) = device.identity() {
        return identity.name;
    }
    let _ = device;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores")
}

impl fmt::Display for AvailableBackend {
    /// One line per device, or one that says why there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.built {
            let (name, feature) = (self.name, self.feature);
            return writeln!(f, "{name:<8} not built in: needs the feature '{feature}'");
        }
        if self.devices.is_empty() {
            return writeln!(f, "{:<8} none found", self.name);
        }
        self.devices.iter().try_for_each(|device| {
            let precisions: Vec<String> =
                device.precisions.iter().map(ToString::to_string).collect();
            let (name, formats) = (device.name.to_string(), precisions.join(", "));
            writeln!(f, "{name:<8} {} ({formats})", device.description)
        })
    }
}

impl Precision {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16Products, Self::Bf16, Self::F16];

    /// The type of activations.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 | Self::Bf16Products => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }

    /// Converts `images` to this format.
    pub fn cast(self, images: Tensor<4>) -> Tensor<4> {
        images.cast(self.dtype())
    }

    /// Calls `run`. Convolutions that this thread computes meanwhile, and their gradients whenever they are
    /// computed, multiply in this format. It does not apply to threads that `run` starts.
    pub fn scope<R>(self, run: impl FnOnce() -> R) -> R {
        #[cfg(feature = "flex")]
        {
            use fcos_burn_cpu::ProductFormat;
            let format = match self {
                Self::Bf16Products => ProductFormat::Bf16,
                _ => ProductFormat::F32,
            };
            format.scope(run)
        }
        #[cfg(not(feature = "flex"))]
        run()
    }

    /// The loss scale: the objective is multiplied by it before the backward pass, and the
    /// gradients are divided by it afterwards. Otherwise the small gradients of activations would
    /// underflow in 16-bit IEEE floats.
    pub fn loss_scale(self) -> f32 {
        match self {
            Self::F32 | Self::Bf16Products | Self::Bf16 => 1.0,
            Self::F16 => 1024.0,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16Products => "bf16-products",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Local {
                backend,
                index: None,
            } => f.write_str(backend.name()),
            Place::Local {
                backend,
                index: Some(index),
            } => write!(f, "{}:{index}", backend.name()),
            Place::Remote { address, index: 0 } => write!(f, "ws://{address}"),
            Place::Remote { address, index } => write!(f, "ws://{address}/{index}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let place = match text.strip_prefix("ws://") {
            Some(address) => remote(address),
            None => local(text),
        };
        place.map(Self).ok_or_else(|| DeviceError::Unknown {
            name: text.to_owned(),
            known: known_devices(),
        })
    }
}

fn local(text: &str) -> Option<Place> {
    let (name, index) = match text.split_once(':') {
        Some((name, index)) => (name, Some(index.parse().ok()?)),
        None => (text, None),
    };
    let backend = Backend::ALL.into_iter().find(|b| b.name() == name)?;
    Some(Place::Local { backend, index })
}

fn remote(text: &str) -> Option<Place> {
    let (address, index) = match text.split_once('/') {
        Some((address, "")) => (address, 0),
        Some((address, index)) => (address, index.parse().ok()?),
        None => (text, 0),
    };
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    (!host.is_empty()).then(|| Place::Remote {
        address: address.to_owned(),
        index,
    })
}

/// The names of all backends, marked if they are not built in.
fn known_devices() -> String {
    Backend::ALL
        .iter()
        .map(|backend| match backend.is_built() {
            true => backend.name().to_owned(),
            false => format!("{} (not built in)", backend.name()),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for DeviceName {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "cpu",
            "cuda",
            "cuda:1",
            "wgpu:0",
            "vulkan:2",
            "ws://gpu:3000",
            "ws://[::1]:3000/1",
        ] {
            assert_eq!(
                name.parse::<DeviceName>().map(|device| device.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[test]
    fn precisions_have_the_same_names_everywhere() {
        for precision in Precision::ALL {
            let name = serde_json::to_value(precision).map_err(|error| error.to_string());
            assert_eq!(name, Ok(precision.to_string().into()));
        }
    }

    #[cfg(feature = "flex")]
    #[test]
    fn products_in_16_bits_need_a_processor_that_has_them() {
        let precision = Precision::Bf16Products;
        let opened = DeviceName::CPU.open(precision).map(drop);
        let expected = match fcos_burn_cpu::ProductFormat::Bf16.is_supported() {
            true => Ok(()),
            false => Err(DeviceError::Precision {
                name: "cpu".to_owned(),
                precision,
            }),
        };
        assert_eq!(opened, expected);
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        for name in [
            "gpu",
            "cuda:x",
            "cuda:-1",
            "",
            "ws://",
            "ws://gpu",
            "ws://:3000",
            "ws://gpu:99999",
            "ws://gpu:3000/x",
        ] {
            let error = name
                .parse::<DeviceName>()
                .map_err(|error| error.to_string());
            assert!(
                error
                    .as_ref()
                    .is_err_and(|text| text.contains("cpu") && text.contains("cuda")),
                "{error:?}"
            );
        }
    }

    #[test]
    fn the_cpu_opens_and_a_second_one_does_not() {
        assert!(DeviceName::CPU.open(Precision::F32).is_ok());
        let second = "cpu:1"
            .parse::<DeviceName>()
            .and_then(|name| name.open(Precision::F32));
        assert!(matches!(second, Err(DeviceError::Unavailable { .. })));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn the_error_of_a_missing_backend_names_its_feature() {
        let error = "cuda"
            .parse::<DeviceName>()
            .and_then(|name| name.open(Precision::F32));
        assert_eq!(
            error.map(|_| ()).map_err(|error| error.to_string()),
            Err(
                "device 'cuda' is not built in: it needs the feature 'cuda' of fcos-burn"
                    .to_owned()
            )
        );
    }

    #[cfg(not(feature = "remote"))]
    #[test]
    fn a_remote_device_needs_its_feature() {
        let error = "ws://localhost:3000"
            .parse::<DeviceName>()
            .and_then(|name| name.open(Precision::F32));
        assert!(matches!(
            error,
            Err(DeviceError::NotBuilt {
                feature: "remote",
                ..
            })
        ));
    }

    #[test]
    fn the_cpu_is_always_found() {
        let backends = available();
        let cpu = backends.iter().find(|backend| backend.name == "cpu");
        assert!(cpu.is_some_and(|cpu| cpu.built && cpu.devices[0].name == DeviceName::CPU));
        for backend in backends {
            assert!(backend.built || backend.devices.is_empty());
            assert!(backend.to_string().ends_with('\n'));
        }
    }
}
