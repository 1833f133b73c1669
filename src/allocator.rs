//! What memory the program takes, and how soon it gives it back.

/// Made to give back what a wave of viewers needed; of the system's allocator's pages most would stay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `purge_delay`, milliseconds: the place after `eager_commit_delay` in its list.
const PURGE_DELAY: std::ffi::c_int = libmimalloc_sys::mi_option_eager_commit_delay + 1;

/// Has no more resident than is used. Called first: it holds for what is allocated after it.
pub fn keep_little() {
    give_back_at_once();
    // mimalloc asks for them, and then a byte holds 2 MiB: buffers that are hardly used, and what is
    // left of a wave of viewers. A million streams are found as fast without them. Where it is not
    // allowed, the program works all the same.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// What is freed is given back at once. mimalloc would wait for 10 ms, and then for something
/// else to be freed beside it: an idle worker would keep what a million streams have needed.
/// `MIMALLOC_PURGE_DELAY` says otherwise.
#[expect(unsafe_code, reason = "mimalloc's options have no safe way")]
fn give_back_at_once() {
    // SAFETY: sets a number that mimalloc knows, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 0) }
}
