//! Arguments for the device.

use std::{ffi::OsStr, io::Write};

use clap::{Arg, Args, Command, builder::TypedValueParser};
use fcos_burn::detect::device::{DeviceError, DeviceName, Precision, available};

use crate::terminal::without_panic_messages;

/// The device to compute on.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Compute on cpu, cuda, wgpu or vulkan, with an optional index as in cuda:1, or on a device
    /// of a Burn server, ws://HOST:PORT; `list` prints the available devices [default: cpu]
    #[arg(long, value_name = "DEVICE|list", value_parser = DeviceParser)]
    pub device: Option<DeviceName>,
    /// Compute activations in this number format: f32, bf16 or f16; bf16-products, for CPUs with AVX-512
    /// BF16, keeps them in f32 and rounds what convolutions multiply [default: f32]
    #[arg(long, value_name = "FORMAT", value_parser = parse_precision)]
    pub precision: Option<Precision>,
}

impl DeviceArgs {
    /// The device and the number format, or their defaults.
    ///
    /// # Errors
    ///
    /// Fails if the device is unavailable.
    pub fn resolve(&self) -> Result<(DeviceName, Precision), DeviceError> {
        let device = self.device.clone().unwrap_or(DeviceName::CPU);
        let precision = self.precision.unwrap_or_default();
        check_devices(std::slice::from_ref(&device), precision)?;
        Ok((device, precision))
    }
}

/// Parses the name of a device. `list` prints the available devices and exits, even if required
/// arguments are missing, as `--help` does.
#[derive(Clone, Debug)]
pub struct DeviceParser;

impl TypedValueParser for DeviceParser {
    type Value = DeviceName;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<DeviceName, clap::Error> {
        if value == "list" {
            // clap would print it as an error.
            let list: String = without_panic_messages(available)
                .iter()
                .map(ToString::to_string)
                .collect();
            let written = std::io::stdout().write_all(list.as_bytes());
            std::process::exit(i32::from(written.is_err()));
        }
        let parse = |text: &str| text.parse::<DeviceName>();
        parse.parse_ref(command, argument, value)
    }
}

fn parse_precision(text: &str) -> Result<Precision, String> {
    let mut all = Precision::ALL.into_iter();
    all.find(|precision| precision.to_string() == text)
        .ok_or_else(|| {
            format!(
                "expected one of {}",
                Precision::ALL.map(|format| format.to_string()).join(", ")
            )
        })
}

/// Opens every device once, so that a missing driver fails early with a one-line error.
///
/// # Errors
///
/// Names the device that is unavailable.
pub fn check_devices(devices: &[DeviceName], precision: Precision) -> Result<(), DeviceError> {
    without_panic_messages(|| {
        let opened = devices.iter().map(|device| device.open(precision));
        opened.collect::<Result<Vec<_>, _>>().map(drop)
    })
}
