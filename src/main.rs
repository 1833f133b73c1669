//! The `streamwatch` program.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::limit_resident_memory();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("streamwatch: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(streamwatch::cli::Cli::main());
    // The process ends with its threads and tasks. If the runtime cancelled a task first, a thread of
    // lapin's that awaits it would panic.
    std::mem::forget(runtime);
    code
}

#[cfg(test)]
mod tests {
    use super::allocator::limit_resident_memory;

    #[test]
    fn freed_and_unused_memory_is_not_resident() {
        limit_resident_memory();
        let before = resident_mb();
        // 64 buffers of 1 MiB, with one byte written in each.
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
