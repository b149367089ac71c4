//! Serving this machine's devices to other machines.
//!
//! Burn's server computes tensor operations for its clients. Data, target assignment, autodiff
//! and the run folder stay on the client, which names the device `ws://HOST:PORT`. The connection
//! is not encrypted: use it only on a trusted network or through an SSH tunnel.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use burn::server::{
    AuthorizationRequest, PeerAuthorizer, RemoteServer, TokenAuthorizer, WebSocketTransport,
};

use super::{DeviceError, DeviceName, Precision, TOKEN_VARIABLE};

/// Logs the clients, and refuses those without the token if there is one.
struct Doorkeeper(Option<TokenAuthorizer>);

impl PeerAuthorizer for Doorkeeper {
    fn authorize(&self, request: AuthorizationRequest<'_>) -> Result<(), String> {
        let (client, index) = (request.client, request.device_index);
        let decision = match &self.0 {
            Some(token) => token.authorize(request),
            None => Ok(()),
        };
        match &decision {
            Ok(()) => log::info!("{client} uses device {index}"),
            Err(cause) => log::warn!("refused: {cause}"),
        }
        decision
    }
}

/// Why devices cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A device is unavailable.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// Other machines can reach the address, and no token is set.
    #[error(
        "{address} is reachable from other machines: set the environment variable \
         {TOKEN_VARIABLE} to a secret, here and on the client"
    )]
    NoToken {
        /// The address.
        address: SocketAddr,
    },
    /// The server failed.
    #[error("the server failed: {0}")]
    Server(String),
}

/// Serves `devices` on `address` until Ctrl-C or SIGTERM. Port 0 selects a free port; `ready` is
/// called with the address once clients can connect.
///
/// With a `token`, only clients that have it in the environment variable [`TOKEN_VARIABLE`] are
/// served. A token is required on addresses that other machines can reach.
///
/// # Errors
///
/// Fails if a device is unavailable, or if the address cannot be listened on. The devices must
/// belong to one backend, except that CUDA and WGPU can be combined.
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
    let token = token.map(TokenAuthorizer::new).transpose();
    let token = token.map_err(|error| ServeError::Server(error.to_string()))?;
    let server = RemoteServer::new(devices).with_authorizer(Doorkeeper(token));
    let listen = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    // Connections wait in the listener's queue until the server takes them.
    ready(listener.local_addr().map_err(listen)?);
    server
        .serve(WebSocketTransport::from_listener(listener))
        .map_err(|error| ServeError::Server(error.to_string()))
}
