//! `etcd-lock completions`: completions for a shell.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::command_line::definition;
use crate::exit::Failure;

/// What to do with the script.
pub(crate) const ABOUT: &str = "\
Examples:
  etcd-lock completions bash > ~/.local/share/bash-completion/completions/etcd-lock
  etcd-lock completions zsh > ~/.zfunc/_etcd-lock
  etcd-lock completions fish > ~/.config/fish/completions/etcd-lock.fish";

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell to complete in
    shell: Shell,
}

/// Prints the script that the shell reads.
pub(crate) fn run(args: &Completions) -> Result<ExitCode, Failure> {
    // Printed at once: the generator panics where nobody reads.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition(), "etcd-lock", &mut script);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&script)?;
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}
