//! Lends devices to trainings on other machines.

use std::{net::SocketAddr, process::ExitCode};

use clap::Parser;
use fcos_burn::train::{
    device::{
        DeviceName, TOKEN_VARIABLE,
        server::{ServeError, serve},
    },
    progress::tell,
};
use fcos_burn_examples::{DeviceParser, print};

/// Lend this machine's devices: others train on them with --device ws://HOST:PORT.
///
/// The address goes to standard output once clients can connect. Ends with Ctrl-C.
/// Connections are not encrypted; a secret in the environment variable
/// FCOS_REMOTE_TOKEN, here and on the client, keeps others off.
#[derive(Parser, Debug)]
#[command(name = "serve")]
struct Cli {
    /// Devices to lend, such as cuda:0,cuda:1; clients name all but the first
    /// ws://HOST:PORT/INDEX
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',', default_value = "cpu", value_parser = DeviceParser)]
    devices: Vec<DeviceName>,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), ServeError> {
    let token = std::env::var(TOKEN_VARIABLE).ok();
    serve(&cli.devices, cli.listen, token.as_deref(), |address| {
        // It serves whoever knows the address all the same.
        if let Err(error) = print(format_args!("ws://{address}\n")) {
            tell(format_args!("ws://{address}: {error}"));
        }
    })
}
