//! What the process does with memory it no longer needs.

/// Large allocations are given back to the kernel as soon as they are freed, and cost nothing where they were never written to.
///
/// glibc learns from the first large block that is freed to keep all later ones of that size: the two megabytes in which an
/// identity is hashed would stay resident in every thread that has ever checked one.
///
/// Source: `mallopt(3)`, `M_MMAP_THRESHOLD` (setting it ends the learning). Other C libraries do this by themselves.
#[allow(unsafe_code)]
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        /// Larger than what is needed per packet, smaller than any table.
        const LARGE: libc::c_int = 192 << 10;
        // SAFETY: changes a number in the allocator, which takes its own lock.
        let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}
