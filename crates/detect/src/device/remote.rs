//! Devices of other machines.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use burn::{
    remote::{ConnectError, RemoteHost},
    tensor::Device,
};

use super::{
    TOKEN_VARIABLE, Traffic,
    relay::{Patience, Relay},
};

/// A lost server is noticed within `interval` + `silence`.
const PATIENCE: Patience = Patience {
    start: Duration::from_secs(10),
    interval: Duration::from_secs(5),
    silence: Duration::from_secs(20),
};

/// The servers and devices that this process has connected to.
#[derive(Debug, Default)]
struct Known {
    /// By the server's address, `HOST:PORT`.
    relays: BTreeMap<String, Arc<Relay>>,
    /// With the address of its server.
    devices: Vec<(Device, String)>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known {
    relays: BTreeMap::new(),
    devices: Vec::new(),
});

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects to the device at position `index` of the server at `address`. A device that is
/// connected already keeps its connection; one that was lost gets a new one.
pub(super) fn connect(address: &str, index: usize) -> Result<Device, String> {
    static CONNECTING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = CONNECTING.lock().unwrap_or_else(PoisonError::into_inner);
    let relay = known().relays.get(address).cloned();
    let relay = match relay.filter(|relay| relay.lost().is_none()) {
        Some(relay) => relay,
        None => Arc::new(Relay::start(address, PATIENCE)?),
    };
    let host = RemoteHost::websocket(&format!("ws://{}", relay.admit()));
    let host = match std::env::var(TOKEN_VARIABLE) {
        Ok(token) => host.with_credential(token),
        Err(_) => host,
    };
    let opened = Device::remote_options(&host).device_index(index).init();
    let device = opened.map_err(|error| {
        relay.reject();
        cause(&error)
    })?;
    relay.confirm();
    let mut known = known();
    known.relays.insert(address.to_owned(), relay);
    if known.devices.iter().all(|(other, _)| *other != device) {
        known.devices.push((device.clone(), address.to_owned()));
    }
    Ok(device)
}

/// The address of the server that `device` belongs to, if it belongs to one.
pub(super) fn server_of(device: &Device) -> Option<String> {
    let known = known();
    let mut devices = known.devices.iter();
    devices.find_map(|(other, address)| (other == device).then(|| address.clone()))
}

/// Why the server is lost, if it is.
pub(super) fn lost(address: &str) -> Option<String> {
    known().relays.get(address)?.lost().map(str::to_owned)
}

/// The address of a server that is lost, and why, if there is one.
pub(super) fn any_lost() -> Option<(String, String)> {
    let known = known();
    let mut lost = known.relays.iter();
    lost.find_map(|(address, relay)| Some((address.clone(), relay.lost()?.to_owned())))
}

/// The bytes exchanged with the server since it was connected.
pub(super) fn traffic(address: &str) -> Option<Traffic> {
    Some(known().relays.get(address)?.traffic())
}

fn cause(error: &ConnectError) -> String {
    match error {
        ConnectError::Unauthorized => format!(
            "it refuses this client: the environment variable {TOKEN_VARIABLE} must have the same \
             value here and on the server"
        ),
        ConnectError::NoSuchDevice { device_count } => {
            format!("its server has {device_count}, counting from 0")
        }
        ConnectError::IncompatibleProtocol {
            client_version,
            server_version,
        } => format!(
            "its server was built with another version of Burn (protocol {server_version}, here \
             {client_version})"
        ),
        // What another program, or a server with a much older version, does.
        ConnectError::Handshake { .. } | ConnectError::Unreachable { .. } => {
            "what listens there is not a server of this version of fcos-burn".to_owned()
        }
        other => other.to_string(),
    }
}
