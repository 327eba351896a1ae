//! The program that a command names.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::args::Run;
use crate::exit::{CANNOT_EXECUTE, Failure, NOT_FOUND};

/// A program that can be executed.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) file: PathBuf,
    /// What it was called.
    pub(crate) name: OsString,
    pub(crate) args: Vec<OsString>,
}

impl Program {
    /// Finds it before the lock is waited for: a typo should not cost an hour.
    pub(crate) fn find(run: &Run) -> Result<Self, Failure> {
        if run.shell {
            // The first argument after the line is its $0.
            let line = ["-c".into(), run.command[0].clone(), "sh".into()];
            let args = line.into_iter().chain(run.command[1..].iter().cloned());
            return Ok(Self {
                file: "/bin/sh".into(),
                name: "sh".into(),
                args: args.collect(),
            });
        }
        let (name, args) = (&run.command[0], &run.command[1..]);
        Ok(Self {
            file: find(name)?,
            name: name.clone(),
            args: args.to_vec(),
        })
    }
}

fn find(program: &OsStr) -> Result<PathBuf, Failure> {
    which::which(program).map_err(|_| {
        let (status, why, advice) = match is_there(program) {
            true => (
                CANNOT_EXECUTE,
                "it can't be executed",
                "chmod +x, or name the interpreter before it",
            ),
            false => (
                NOT_FOUND,
                "there is no such command",
                "check its spelling and PATH; a line for the shell needs --shell",
            ),
        };
        Failure::new(status, format!("{}: {why}", program.display())).advice(advice)
    })
}

/// Whether there is a file of this name, where the name is looked for: a bare one on the search path alone.
fn is_there(program: &OsStr) -> bool {
    let program = Path::new(program);
    if program.components().count() != 1 || program.as_os_str() == "." {
        return program.exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}
