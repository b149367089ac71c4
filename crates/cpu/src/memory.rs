//! Memory that the allocator keeps.

/// Makes the allocator keep freed memory for its next use. By default, glibc returns large blocks to
/// the operating system, and each training step gets them back page by page, cleared.
///
/// The process then holds at least the memory of its largest step until it ends. Call this at the
/// start of `main`. It has no effect if other threads are already running, without glibc, or with a
/// custom global allocator.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1) {
        // SAFETY: the parameters are not synchronized, but no other thread can read them.
        #[allow(unsafe_code)]
        unsafe {
            // Large blocks come from the heap, not from mappings of their own, which end with them.
            libc::mallopt(libc::M_MMAP_MAX, 0);
            // Never give back the end of the heap.
            libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
            // One heap for all threads: further ones are too small for large blocks, which would get
            // mappings all the same.
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// Returns the memory that is free now to the operating system, even after [`keep_freed_memory`]: for the
/// moment after something that takes much memory only once, such as loading weights. It has no effect
/// without glibc.
pub fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the function may be called at any time, by any thread.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}
