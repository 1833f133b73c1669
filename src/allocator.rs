//! The memory allocator.

/// mimalloc, which returns freed memory to the operating system after a peak. The system's
/// allocator keeps most pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of mimalloc's option `purge_delay` in milliseconds, which follows
/// `eager_commit_delay`.
const PURGE_DELAY: std::ffi::c_int = libmimalloc_sys::mi_option_eager_commit_delay + 1;

/// Keeps the resident memory close to the memory in use. Must be called first, since it applies to
/// later allocations.
pub fn limit_resident_memory() {
    purge_at_once();
    // mimalloc requests huge pages, where a single byte keeps 2 MiB resident in little-used buffers
    // and after a peak of streams. Lookups among a million streams are as fast without them. A
    // failure only costs memory.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Returns freed pages at once. By default, mimalloc waits for 10 ms and a further deallocation
/// nearby, so an idle worker would keep the memory of a million streams. There is no build option
/// for it, and `MIMALLOC_PURGE_DELAY`, which overrides it, is read before `main`.
#[expect(unsafe_code, reason = "mimalloc's options have no safe way")]
fn purge_at_once() {
    // SAFETY: sets a numeric option of mimalloc, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 0) }
}
