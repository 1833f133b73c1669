//! `streamwatch completions` and `streamwatch man`: what shells and readers want to know.

use std::{io, path::PathBuf};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

/// The program's name.
const NAME: &str = "streamwatch";

/// Print a completion script for a shell
///
/// For example: streamwatch completions bash > /etc/bash_completion.d/streamwatch
#[derive(clap::Args, Debug)]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// # Errors
    /// Where standard output takes nothing.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        io::Write::write_all(&mut io::stdout().lock(), &script).context("printing the script")
    }
}

/// Write the manual pages, one a command
///
/// For example: streamwatch man /usr/local/share/man/man1
#[derive(clap::Args, Debug)]
pub struct Man {
    /// An existing folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    /// # Errors
    /// Where the folder takes no files.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        clap_mangen::generate_to(Cli::command(), &self.folder)
            .with_context(|| format!("writing to {}", self.folder.display()))
    }
}
