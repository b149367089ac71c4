//! Devices of other machines.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use burn::{
    remote::{ConnectError, RemoteHost},
    tensor::Device,
};

use super::{
    TOKEN_VARIABLE, Traffic,
    relay::{Patience, Relay},
    token,
};

/// A server that hangs is noticed within `interval` + `silence`.
const PATIENCE: Patience = Patience {
    start: Duration::from_secs(10),
    interval: Duration::from_secs(5),
    silence: Duration::from_secs(20),
};

/// An operation can fail shortly before the relay knows why.
const VERDICT: Duration = Duration::from_secs(2);

/// The servers and devices that this process has connected to.
#[derive(Debug, Default)]
struct Known {
    /// The last one to each server, by its address, `HOST:PORT`.
    relays: BTreeMap<String, Arc<Relay>>,
    /// With the relay to its server.
    devices: Vec<(Device, Arc<Relay>)>,
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
    let used = known().relays.get(address).cloned();
    let used = used.filter(|relay| relay.lost().is_none());
    let is_new = used.is_none();
    let relay = match used {
        Some(relay) => relay,
        None => Arc::new(Relay::start(address, PATIENCE)?),
    };
    let admitted = relay.admit();
    let host = RemoteHost::websocket(&format!("ws://{}", admitted.address()));
    let host = match token().map_err(|error| error.to_string())? {
        Some(token) => host.with_credential(token),
        None => host,
    };
    let device = match Device::remote_options(&host).device_index(index).init() {
        Ok(device) => device,
        Err(error) => {
            drop(admitted);
            let cause = match relay.lost() {
                Some(lost) => lost.to_owned(),
                None => cause(&error),
            };
            if is_new {
                relay.end();
            }
            return Err(cause);
        }
    };
    admitted.confirm();
    let mut known = known();
    known.relays.insert(address.to_owned(), relay.clone());
    if known.devices.iter().all(|(other, _)| *other != device) {
        known.devices.push((device.clone(), relay));
    }
    Ok(device)
}

/// Whether both devices are on this machine, or both belong to one server, reached by one relay.
pub(super) fn on_one_machine(a: &Device, b: &Device) -> bool {
    let known = known();
    let relay = |device: &Device| {
        let mut devices = known.devices.iter();
        devices.find_map(|(other, relay)| (other == device).then_some(relay))
    };
    match (relay(a), relay(b)) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// Whether the device belongs to another machine.
pub(super) fn is_remote(device: &Device) -> bool {
    known().devices.iter().any(|(other, _)| other == device)
}

/// Why the server is lost, if it is.
pub(super) fn lost(address: &str) -> Option<String> {
    known().relays.get(address)?.lost().map(str::to_owned)
}

/// Like [`lost`], after an operation has failed: waits until the relay may know why.
pub(super) fn lost_soon<T>(lost: impl Fn() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let found = lost();
        if found.is_some() || known().relays.is_empty() || started.elapsed() >= VERDICT {
            return found;
        }
        thread::sleep(Duration::from_millis(10));
    }
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
