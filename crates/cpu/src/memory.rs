//! Memory that the allocator keeps.

/// Makes the allocator keep freed memory for its next use. By default, glibc returns large blocks to
/// the operating system, and each step of a training gets them back page by page, cleared.
///
/// The process then holds at least the memory of its largest step until it ends. Call this first in a
/// program whose main work is such steps. It does nothing once other threads run, without glibc, or
/// with a custom global allocator.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1) {
        // SAFETY: the parameters are not synchronized, but no other thread can read them.
        #[allow(unsafe_code)]
        unsafe {
            // No blocks with a mapping of their own, which ends with the block.
            libc::mallopt(libc::M_MMAP_MAX, 0);
            // Never give back the end of the heap.
            libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
            // The heaps of threads are small: for large blocks they use mappings all the same.
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}
