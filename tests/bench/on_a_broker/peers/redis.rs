//! A Redis server of a peer, on loopback and without persistence.

use std::path::Path;

use crate::broker::fixture::{PATIENCE, Process, eventually, free_port};

const READY: &str = "Ready to accept connections";

/// A running server. Dropping it kills the process.
pub struct Redis {
    process: Process,
    port: u16,
}

impl Redis {
    pub async fn start(program: &Path) -> Self {
        let port = free_port();
        let number = port.to_string();
        let arguments = ["--bind", "127.0.0.1", "--port", &number];
        let volatile = ["--save", "", "--appendonly", "no"];
        let process = Process::of(program, &[], &[&arguments[..], &volatile].concat());
        eventually(PATIENCE, "Redis accepts connections", async || {
            let log = process.stdout();
            log.contains(READY).then_some(()).ok_or(log)
        })
        .await;
        Self { process, port }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
