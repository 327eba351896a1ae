//! The files around the code: licences, the README's link, the one Rust version that is stated.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use xshell::Shell;

use super::manifests::{is_member, package_value};
use crate::Result;

/// The README is the facade's front page, and inside its package, so that it can be published and tested with it.
const README: &str = "crates/etcd-lock/README.md";

pub(super) fn check(sh: &Shell, files: &[String]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        if !files.iter().any(|file| file == licence) {
            problems.push(format!("{licence} is missing"));
        }
    }
    if fs::read_link(sh.current_dir().join("README.md"))
        .is_ok_and(|target| target == Path::new(README))
    {
        problems.extend(rust_versions(sh, files)?);
    } else {
        problems.push(format!("README.md must be a symbolic link to {README}"));
    }
    if fs::metadata(sh.current_dir().join(".ci/run")).map_or(0, |run| run.permissions().mode())
        & 0o111
        == 0
    {
        problems.push(".ci/run must be executable".to_owned());
    }
    problems.extend(packages(sh, files)?);
    Ok(problems)
}

/// A package that is published has a README, which a registry shows, and the licences, which are links to those at the root.
fn packages(sh: &Shell, files: &[String]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| is_member(file)) {
        let manifest = sh.read_file(file)?;
        if manifest.contains("publish = false") {
            continue;
        }
        let folder = file.trim_end_matches("Cargo.toml");
        for part in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
            if !files.contains(&format!("{folder}{part}")) {
                problems.push(format!("{folder}{part} is missing from the package"));
            }
        }
        if !manifest.contains("readme = \"README.md\"") {
            problems.push(format!("{file}: lacks `readme = \"README.md\"`"));
        }
    }
    Ok(problems)
}

/// Where a page names a Rust version, it must be the one that the manifest states. The changelog tells of older ones.
fn rust_versions(sh: &Shell, files: &[String]) -> Result<Vec<String>> {
    let root = sh.read_file("Cargo.toml")?;
    let stated = package_value(&root, "rust-version");
    let mut problems = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.ends_with(".md") && *file != "CHANGELOG.md")
    {
        for named in named_rust_versions(&sh.read_file(file)?) {
            if named != stated {
                problems.push(format!(
                    "{file}: says Rust {named}, Cargo.toml says {stated}"
                ));
            }
        }
    }
    Ok(problems)
}

/// The versions of Rust that a text names, each after the word `Rust`.
fn named_rust_versions(text: &str) -> Vec<String> {
    text.match_indices("Rust 1.")
        .map(|(at, _)| {
            let number = text[at + "Rust ".len()..]
                .split(|character: char| !(character.is_ascii_digit() || character == '.'));
            let number = number.into_iter().next().unwrap_or_default();
            number.trim_end_matches('.').to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_versions_are_found_in_prose() {
        let text = "Needs Rust 1.88. (Rust 1.85.1, or Rust 2024, would not do.)";
        assert_eq!(named_rust_versions(text), ["1.88", "1.85.1"]);
    }
}
