//! The `streamwatch` program.

use std::process::ExitCode;

/// Made to give back what a wave of viewers needed; of the system's allocator's pages most would stay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `purge_delay`, milliseconds: the place after `eager_commit_delay` in its list.
const PURGE_DELAY: std::ffi::c_int = libmimalloc_sys::mi_option_eager_commit_delay + 1;

/// What is freed is given back at once. mimalloc would wait for 10 ms, and then for something
/// else to be freed beside it: an idle worker would keep what a million streams have needed.
/// `MIMALLOC_PURGE_DELAY` says otherwise.
#[expect(unsafe_code, reason = "mimalloc's options have no safe way")]
fn give_back_at_once() {
    // SAFETY: sets a number that mimalloc knows, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 0) }
}

fn main() -> ExitCode {
    give_back_at_once();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("streamwatch: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(streamwatch::cli::Cli::main());
    // Where one thread has failed, the others are not waited for.
    runtime.shutdown_background();
    code
}

#[cfg(test)]
mod tests {
    use super::give_back_at_once;

    #[test]
    fn an_idle_program_keeps_little_of_what_it_has_freed() {
        give_back_at_once();
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
