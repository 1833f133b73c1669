//! The memory allocator.

/// Returns freed memory to the operating system after a peak, of which the system's allocator keeps
/// most pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `purge_delay`, milliseconds: the place after `eager_commit_delay` in its list.
const PURGE_DELAY: std::ffi::c_int = libmimalloc_sys::mi_option_eager_commit_delay + 1;

/// Has no more resident than is used. Called first: it holds for what is allocated after it.
pub fn keep_little() {
    purge_at_once();
    // mimalloc asks for them, and then a byte holds 2 MiB: buffers that are hardly used, and what is
    // left of a wave of viewers. A million streams are found as fast without them. Where it is not
    // allowed, the program works all the same.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Returns freed pages at once. By default, mimalloc waits for 10 ms and a further deallocation
/// nearby, so an idle worker would keep the memory of a million streams. `MIMALLOC_PURGE_DELAY`
/// overrides it.
#[expect(unsafe_code, reason = "mimalloc's options have no safe way")]
fn purge_at_once() {
    // SAFETY: sets a numeric option of mimalloc, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 0) }
}
