//! `fcos-burn devices`.

use std::process::ExitCode;

use fcos_burn::detect::device::available;
use fcos_burn_cli::{
    Error,
    terminal::{print, without_panic_messages},
};

/// List the devices of this machine with their number formats, and the backends that are not built
/// in.
#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<ExitCode, Error> {
    for backend in without_panic_messages(available) {
        print(backend)?;
    }
    Ok(ExitCode::SUCCESS)
}
