//! Memory of this process.

/// Resets the peak memory of the process to what is currently in use, if the system supports it.
pub fn begin_peak() {
    // On Linux, "5" resets the high-water mark. If that fails, the peak is the one since the
    // process started.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Peak memory of the process in MiB; `None` if the system does not report it.
pub fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
