//! `streamwatch completions` and `streamwatch man`.

use std::{io, path::PathBuf};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

const NAME: &str = "streamwatch";

/// Print a completion script for a shell
///
/// For example: streamwatch completions bash > /etc/bash_completion.d/streamwatch
#[derive(clap::Args, Debug)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        io::Write::write_all(&mut io::stdout().lock(), &script).context("printing the script")
    }
}

/// Write the manual pages, one per command
///
/// For example: streamwatch man /usr/local/share/man/man1
#[derive(clap::Args, Debug)]
pub struct Man {
    /// An existing folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(super) fn write(&self) -> anyhow::Result<()> {
        clap_mangen::generate_to(Cli::command(), &self.folder)
            .with_context(|| format!("writing to {}", self.folder.display()))
    }
}
