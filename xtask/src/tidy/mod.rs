//! `cargo xtask tidy`: the rules of this workspace that no compiler checks.

mod layers;
mod manifests;
mod project;
mod text;

use xshell::{Shell, cmd};

use crate::Result;

pub(crate) use self::manifests::package_value;

/// Checks all of them, and reports everything that is wrong at once.
pub(crate) fn run(sh: &Shell) -> Result {
    let files = files(sh)?;
    let mut problems = layers::check(sh)?;
    problems.extend(manifests::check(sh, &files)?);
    problems.extend(project::check(sh, &files)?);
    problems.extend(text::check(sh, &files)?);
    if problems.is_empty() {
        eprintln!(
            "tidy: {} files and the dependencies between the crates are as they should be",
            files.len()
        );
        return Ok(());
    }
    Err(format!("{}\ntidy: {} problems", problems.join("\n"), problems.len()).into())
}

/// The files that are committed or about to be, as paths from the root of the workspace.
fn files(sh: &Shell) -> Result<Vec<String>> {
    let listed = cmd!(sh, "git ls-files --cached --others --exclude-standard")
        .quiet()
        .read()?;
    Ok(listed
        .lines()
        .filter(|file| sh.path_exists(file))
        .map(ToOwned::to_owned)
        .collect())
}
