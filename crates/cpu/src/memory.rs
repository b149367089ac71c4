//! Memory that the allocator keeps.

/// Makes the allocator of the process keep freed memory for its next use. By default, that of glibc
/// returns large blocks to the operating system, and each step of a training gets them back page by
/// page, cleared: a tenth of the time, or more.
///
/// The process then holds the memory of its largest step until it ends. Call this once, at the start of
/// a program whose main work is such steps. It does nothing where the allocator is another one than
/// glibc's, and has no effect on a custom global allocator.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only sets parameters of the allocator, under its lock.
    #[allow(unsafe_code)]
    unsafe {
        // No blocks with a mapping of their own, which ends with the block.
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}
