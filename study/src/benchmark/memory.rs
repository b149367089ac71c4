//! The memory of this process.

/// Begins a new peak where the system has one for each process; what is in use stays.
pub fn begin_peak() {
    // Linux: "5" resets the high water mark. Where it cannot be, the peak is that since the
    // process began.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory, in MiB, that was in use at a time; `None` where the system does not
/// tell.
pub fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
