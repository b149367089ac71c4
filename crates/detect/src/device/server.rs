//! Lending this machine's devices to trainings on other machines.
//!
//! Burn's server computes tensor operations for its clients; data, target assignment,
//! losses' graph and run folder stay with the client, which names the device
//! `ws://HOST:PORT`. The connection is not encrypted: it is for a network that you
//! trust, or for the two ends of an SSH tunnel.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};

use super::{DeviceError, DeviceName, Precision, TOKEN_VARIABLE};

/// Why devices cannot be lent.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// Others could reach the address, and no secret keeps them off.
    #[error(
        "{address} can be reached by other machines: set the environment variable \
         {TOKEN_VARIABLE} here and on the client to a secret"
    )]
    NoToken {
        /// The address.
        address: SocketAddr,
    },
    /// The server itself failed.
    #[error("the server failed: {0}")]
    Server(String),
}

/// Lends `devices` on `address` until Ctrl-C or SIGTERM. A port of 0 takes a free one;
/// `ready` is told the address once clients can connect.
///
/// With a `token`, only clients are served that have it in the environment variable
/// [`TOKEN_VARIABLE`]; on an address that other machines reach it is needed.
///
/// # Errors
///
/// Fails if a device cannot be had, or the address cannot be listened on. The devices
/// must belong to one backend, but that CUDA and WGPU go together.
pub fn serve(
    devices: &[DeviceName],
    address: SocketAddr,
    token: Option<&str>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    if token.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::NoToken { address });
    }
    let devices = devices
        .iter()
        .map(|device| device.open(Precision::F32))
        .collect::<Result<Vec<_>, _>>()?;
    let mut server = RemoteServer::new(devices);
    if let Some(token) = token {
        let authorizer =
            TokenAuthorizer::new(token).map_err(|error| ServeError::Server(error.to_string()))?;
        server = server.with_authorizer(authorizer);
    }
    let listen = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    // Connections wait in the listener's queue until the server takes them.
    ready(listener.local_addr().map_err(listen)?);
    server
        .serve(WebSocketTransport::from_listener(listener))
        .map_err(|error| ServeError::Server(error.to_string()))
}
