//! `fcos-burn serve`.

use std::{net::SocketAddr, process::ExitCode};

use fcos_burn::detect::device::{DeviceName, Precision, TOKEN_VARIABLE, server::serve};
use fcos_burn_cli::{
    Error,
    args::{DeviceParser, check_devices},
    terminal::{message, print},
};

/// Lend this machine's devices: others train on them with --device ws://HOST:PORT.
///
/// The address goes to standard output once clients can connect. Ends with Ctrl-C.
/// Connections are not encrypted; a secret in the environment variable
/// FCOS_REMOTE_TOKEN, here and on the client, keeps others off.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Devices to lend, such as cuda:0,cuda:1; clients name all but the first
    /// ws://HOST:PORT/INDEX
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',', default_value = "cpu", value_parser = DeviceParser)]
    devices: Vec<DeviceName>,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let token = std::env::var(TOKEN_VARIABLE).ok();
    check_devices(&args.devices, Precision::F32)?;
    serve(&args.devices, args.listen, token.as_deref(), |address| {
        // Clients that know the address are served even if it cannot be printed.
        if let Err(error) = print(format_args!("ws://{address}\n")) {
            message(format_args!("ws://{address}: {error}"));
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
