//! `fcos-burn serve`.

use std::{net::SocketAddr, process::ExitCode};

use fcos_burn::detect::device::{DeviceName, Precision, server::serve, token};
use fcos_burn_cli::{
    Error,
    args::{DeviceParser, check_devices},
    terminal::{message, print},
};

/// Serve this machine's devices to other machines, which use them with --device ws://HOST:PORT.
///
/// The address goes to standard output once clients can connect. Stop the server with Ctrl-C.
/// Connections are not encrypted. To restrict access, set the environment variable
/// FCOS_REMOTE_TOKEN to a secret, here and on the clients.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Serve these devices, such as cuda:0,cuda:1; clients name the first ws://HOST:PORT, the
    /// others ws://HOST:PORT/INDEX
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',', default_value = "cpu", value_parser = DeviceParser)]
    devices: Vec<DeviceName>,
    /// Listen on this address and port; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let token = token()?;
    check_devices(&args.devices, Precision::F32)?;
    serve(&args.devices, args.listen, token.as_deref(), |address| {
        // Keep serving clients that know the address even if it cannot be printed.
        if let Err(error) = print(format_args!("ws://{address}\n")) {
            message(format_args!("ws://{address}: {error}"));
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
