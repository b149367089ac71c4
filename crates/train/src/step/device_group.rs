//! Several devices that compute in parallel.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::Device;
use fcos_burn_detect::device::{DeviceName, Precision, is_cpu, is_remote, on_one_machine};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Devices that share the work of a batch, each with its own thread.
///
/// The same device may be listed several times: on a CPU, two shares of a batch use two cores
/// better than the parallel operations of one share do.
///
/// The threads belong to one pool, which also runs the operations of a CPU, so that they need
/// not wait for another pool. Each device always uses the same thread, because batch
/// normalization keeps its running statistics per thread.
#[derive(Clone, Debug)]
pub struct DeviceGroup {
    devices: Vec<Device>,
    common: Device,
    spans_machines: bool,
    threads: Arc<ThreadPool>,
}

impl DeviceGroup {
    /// Starts the threads: as many as there are cores, and at least one per device.
    ///
    /// # Errors
    ///
    /// Fails if there are no devices, if they belong to several servers and this machine has no
    /// device, or if a thread cannot be started.
    pub fn new(devices: Vec<Device>) -> io::Result<Self> {
        if devices.is_empty() {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "there are no devices"));
        }
        let threads = rayon::current_num_threads().max(devices.len());
        let threads = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("device-{index}"))
            .build()
            .map_err(io::Error::other)?;
        let (first, others) = (&devices[0], &devices[1..]);
        let spans_machines = others.iter().any(|device| !on_one_machine(first, device));
        let common = match local(&devices) {
            Some(local) => local,
            None if spans_machines => {
                let cause = "devices of several servers need a device of this machine";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
            }
            None => first.clone(),
        };
        Ok(Self {
            common,
            spans_machines,
            devices,
            threads: Arc::new(threads),
        })
    }

    /// The device for what all devices need: the first one, or the CPU of this machine if a device
    /// of another machine takes part, so that it need not get the targets of all.
    pub(super) fn common(&self) -> &Device {
        &self.common
    }

    /// The devices.
    pub(crate) fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Whether some devices are on other machines than others.
    pub(super) fn spans_machines(&self) -> bool {
        self.spans_machines
    }

    /// Whether all devices are the CPU of this machine.
    pub(super) fn is_cpu(&self) -> bool {
        self.devices.iter().all(is_cpu)
    }

    /// Runs `work` on a thread of the pool if all devices are the CPU: an operation that is called from outside
    /// the pool has to wake one of its threads and wait for it. Otherwise, `work` runs on the calling thread,
    /// since the queues of a GPU belong to threads.
    pub(super) fn install<O: Send>(&self, work: impl FnOnce() -> O + Send) -> O {
        match self.is_cpu() {
            true => self.threads.install(work),
            false => work(),
        }
    }

    /// Runs `work` on each item in parallel, on the device with the item's index, and returns the
    /// results in the order of the items.
    ///
    /// # Panics
    ///
    /// If there are more items than devices, or if `work` panics.
    pub(super) fn map<I, O, F>(&self, items: Vec<I>, work: F) -> Vec<O>
    where
        I: Send,
        O: Send,
        F: Fn(&Device, I) -> O + Sync,
    {
        assert!(
            items.len() <= self.devices.len(),
            "{} items for {} devices",
            items.len(),
            self.devices.len()
        );
        let items: Vec<Mutex<Option<I>>> = items
            .into_iter()
            .map(|item| Mutex::new(Some(item)))
            .collect();
        let results = self.threads.broadcast(|thread| {
            let index = thread.index();
            let item = items.get(index)?;
            let item = item.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            Some(work(&self.devices[index], item))
        });
        results.into_iter().flatten().collect()
    }
}

/// The first device if all are on this machine; else the CPU of this machine, or another local
/// device.
fn local(devices: &[Device]) -> Option<Device> {
    if !devices.iter().any(is_remote) {
        return devices.first().cloned();
    }
    match DeviceName::CPU.open(Precision::F32) {
        Ok(cpu) => Some(cpu.autodiff()),
        Err(_) => devices.iter().find(|device| !is_remote(device)).cloned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        collections::HashSet,
        panic::{self, AssertUnwindSafe},
        thread,
    };

    use super::*;

    fn group(devices: usize) -> DeviceGroup {
        DeviceGroup::new(vec![Device::flex(); devices]).unwrap()
    }

    #[test]
    fn a_group_has_at_least_one_device() {
        let error = DeviceGroup::new(Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "there are no devices");
    }

    #[test]
    fn results_keep_their_order_and_devices_their_threads() {
        let group = group(3);
        let mut seen = HashSet::new();
        for _ in 0..2 {
            let results = group.map(vec![30, 10, 20], |_, milliseconds| {
                thread::sleep(std::time::Duration::from_millis(milliseconds));
                (milliseconds, thread::current().id())
            });
            let (items, threads): (Vec<_>, Vec<_>) = results.into_iter().unzip();
            assert_eq!(items, [30, 10, 20]);
            seen.extend(threads);
        }
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn work_on_a_cpu_runs_in_the_pool() {
        let device = Device::flex();
        for device in [
            device.clone(),
            device.clone().autodiff(),
            device.autodiff().gradient_checkpointing(),
        ] {
            let group = DeviceGroup::new(vec![device]).unwrap();
            let name = group.install(|| thread::current().name().map(str::to_owned));
            assert!(name.unwrap().starts_with("device-"));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_group_usable() {
        let group = group(2);
        let caught = panic::catch_unwind(AssertUnwindSafe(|| {
            group.map(vec![0, 1], |_, item| assert!(item == 0, "no {item}"))
        }));
        let message = caught.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(*message, "no 1");
        assert_eq!(group.map(vec![1, 2], |_, item| item), [1, 2]);
    }
}
