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

#[cfg(test)]
mod tests {
    use super::keep_little;

    #[test]
    fn an_idle_program_has_little_more_in_memory_than_it_uses() {
        keep_little();
        let before = resident_mb();
        // As many megabytes, of each of which one byte is written.
        let mut buffers: Vec<_> = (0..64).map(|_| Vec::with_capacity(1 << 20)).collect();
        for buffer in &mut buffers {
            buffer.push(1_u8);
        }
        let after = resident_mb();
        assert!(after < before + 10.0, "{before} MB, {after} MB");
        assert_eq!(std::hint::black_box(buffers).len(), 64);

        let before = resident_mb();
        let mut streams: Vec<Box<[u8; 256]>> = (0..400_000).map(|_| Box::new([1; 256])).collect();
        let full = resident_mb();
        assert!(full > before + 90.0, "{before} MB, {full} MB");
        streams.clear();
        drop(streams);
        let after = resident_mb();
        assert!(after < before + 10.0, "{before} MB, {full} MB, {after} MB");
    }

    fn resident_mb() -> f64 {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<f64>().ok());
        pages.expect("pages") * 4_096.0 / 1e6
    }
}
