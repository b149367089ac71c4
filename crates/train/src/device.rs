//! Choosing a device by name: the only module that names a backend.

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    str::FromStr,
};

use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

/// A device by name, as it is written on a command line: `cpu`, `cuda:1`, `wgpu`.
///
/// ```
/// use fcos_burn_train::device::DeviceName;
///
/// let name: DeviceName = "cuda:1".parse()?;
/// assert_eq!(name.to_string(), "cuda:1");
/// assert!("gpu".parse::<DeviceName>().is_err());
/// # Ok::<(), fcos_burn_train::device::DeviceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeviceName {
    backend: Backend,
    index: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Cpu,
    Cuda,
    Wgpu,
    Vulkan,
}

const BACKENDS: [(Backend, &str, bool); 4] = [
    (Backend::Cpu, "cpu", cfg!(feature = "flex")),
    (Backend::Cuda, "cuda", cfg!(feature = "cuda")),
    (Backend::Wgpu, "wgpu", cfg!(feature = "wgpu")),
    (Backend::Vulkan, "vulkan", cfg!(feature = "vulkan")),
];

/// Number format of weights and activations on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit brain floats.
    Bf16,
    /// 16-bit IEEE floats.
    F16,
}

/// Why a device cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name stands for no device.
    #[error("unknown device '{name}': expected one of {known}, with :INDEX for any but the first")]
    Unknown {
        /// The name.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// This program was built without the backend.
    #[error("device '{name}' is not built in: build with --features {feature}")]
    NotBuilt {
        /// The device.
        name: String,
        /// The cargo feature that has it.
        feature: &'static str,
    },
    /// The machine has no such device, or its driver does not answer.
    #[error("device '{name}' is not there: {cause}")]
    NotThere {
        /// The device.
        name: String,
        /// What the driver said.
        cause: String,
    },
    /// The device does not compute in the format asked for.
    #[error("device '{name}' does not support {precision:?}: {cause}")]
    Precision {
        /// The device.
        name: String,
        /// The format.
        precision: Precision,
        /// The backend's reason.
        cause: String,
    },
}

impl DeviceName {
    /// The host's processor.
    pub const CPU: Self = Self {
        backend: Backend::Cpu,
        index: 0,
    };

    /// Opens the device and computes once on it.
    ///
    /// # Errors
    ///
    /// Fails if the backend is not built in, the device does not answer, or it
    /// does not support `precision`.
    pub fn open(self, precision: Precision) -> Result<Device, DeviceError> {
        // A driver that is missing makes a backend panic, from whichever thread it
        // works on. The message belongs into the error, not on the terminal.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let opened = panic::catch_unwind(AssertUnwindSafe(|| self.open_unguarded(precision)));
        panic::set_hook(hook);
        opened.unwrap_or_else(|payload| {
            let cause = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("its driver failed");
            Err(self.not_there(cause))
        })
    }

    fn open_unguarded(self, precision: Precision) -> Result<Device, DeviceError> {
        let mut device = self.backend_device()?;
        // Once a device computes, its format is settled: an error for the format
        // it already has is none.
        let settled = device.settings().float_dtype == precision.dtype();
        if !settled {
            device
                .configure(precision.dtype())
                .map_err(|error| DeviceError::Precision {
                    name: self.to_string(),
                    precision,
                    cause: error.to_string(),
                })?;
        }
        let sum = Tensor::<1>::ones([2], &device)
            .sum()
            .try_into_scalar::<f32>();
        match sum {
            Ok(2.0) => Ok(device),
            Ok(other) => Err(self.not_there(&format!("1 + 1 is {other} there"))),
            Err(error) => Err(self.not_there(&error.to_string())),
        }
    }

    fn backend_device(self) -> Result<Device, DeviceError> {
        match self.backend {
            Backend::Cpu if self.index > 0 => Err(self.not_there("the processor is one device")),
            #[cfg(feature = "flex")]
            Backend::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Backend::Cuda => Ok(Device::cuda(self.index)),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu => Ok(Device::wgpu(self.graphics_kind())),
            #[cfg(feature = "vulkan")]
            Backend::Vulkan => Ok(Device::vulkan(self.graphics_kind())),
            #[allow(unreachable_patterns)]
            _ => Err(DeviceError::NotBuilt {
                name: self.to_string(),
                feature: match self.backend {
                    Backend::Cpu => "flex",
                    Backend::Cuda => "cuda",
                    Backend::Wgpu => "wgpu",
                    Backend::Vulkan => "vulkan",
                },
            }),
        }
    }

    /// The first device is the best one there is, a processor that speaks the
    /// graphics interface included; others are counted among the graphics cards.
    #[cfg(any(feature = "wgpu", feature = "vulkan"))]
    fn graphics_kind(self) -> burn::tensor::DeviceKind {
        match self.index {
            0 => burn::tensor::DeviceKind::DefaultDevice,
            index => burn::tensor::DeviceKind::DiscreteGpu(index),
        }
    }

    fn not_there(self, cause: &str) -> DeviceError {
        DeviceError::NotThere {
            name: self.to_string(),
            cause: cause.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

impl Precision {
    fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = BACKENDS
            .iter()
            .find(|(backend, ..)| *backend == self.backend)
            .map_or("", |(_, name, _)| name);
        match self.index {
            0 => f.write_str(name),
            index => write!(f, "{name}:{index}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown {
            name: text.to_owned(),
            known: known_devices(),
        };
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, index.parse().map_err(|_| unknown())?),
            None => (text, 0),
        };
        let (backend, ..) = BACKENDS
            .into_iter()
            .find(|(_, known, _)| *known == name)
            .ok_or_else(unknown)?;
        Ok(Self { backend, index })
    }
}

/// The names of all devices, those that are not built in with the feature that
/// has them.
fn known_devices() -> String {
    BACKENDS
        .iter()
        .map(|(_, name, built)| match built {
            true => (*name).to_owned(),
            false => format!("{name} (not built in)"),
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
        for name in ["cpu", "cuda", "cuda:1", "wgpu", "vulkan:2"] {
            assert_eq!(
                name.parse::<DeviceName>().map(|device| device.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        for name in ["gpu", "cuda:x", "cuda:-1", ""] {
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
    fn the_processor_opens_and_a_second_one_does_not() {
        assert!(DeviceName::CPU.open(Precision::F32).is_ok());
        let second = "cpu:1"
            .parse::<DeviceName>()
            .and_then(|name| name.open(Precision::F32));
        assert!(matches!(second, Err(DeviceError::NotThere { .. })));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_backend_that_is_not_built_in_names_its_feature() {
        let error = "cuda"
            .parse::<DeviceName>()
            .and_then(|name| name.open(Precision::F32));
        assert_eq!(
            error.map(|_| ()).map_err(|error| error.to_string()),
            Err("device 'cuda' is not built in: build with --features cuda".to_owned())
        );
    }
}
