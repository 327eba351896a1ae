//! The rules for every `Cargo.toml`: one version, one MSRV, one table of dependencies.

use xshell::Shell;

use crate::Result;

/// The lines by which a member takes values from the workspace instead of saying them again.
const SHARED: [&str; 4] = [
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
];

/// Crates that others name as dependencies, for their tests alone.
const UNPUBLISHED: [&str; 2] = ["etcd-lock-fuzz", "etcd-lock-testkit"];

pub(super) fn check(sh: &Shell, files: &[String]) -> Result<Vec<String>> {
    let root = sh.read_file("Cargo.toml")?;
    let version = package_value(&root, "version");
    let mut problems = unpinned(&root, version);
    for file in files.iter().filter(|file| is_member(file)) {
        let manifest = sh.read_file(file)?;
        problems.extend(member_problems(file, &manifest));
    }
    Ok(problems)
}

/// The value of a key of `[workspace.package]`, the only place where it is given.
pub(crate) fn package_value<'a>(root: &'a str, key: &str) -> &'a str {
    root.lines()
        .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))
        .map_or("", |value| value.trim().trim_matches('"'))
}

/// Whether it is right in the folder of a crate: what lies deeper is a workspace of its own.
pub(super) fn is_member(file: &str) -> bool {
    file.strip_prefix("crates/")
        .and_then(|rest| rest.strip_suffix("/Cargo.toml"))
        .is_some_and(|folder| !folder.contains('/'))
}

/// Siblings are released together, so each wants exactly its own version of the others; but for those that never are.
fn unpinned(root: &str, version: &str) -> Vec<String> {
    let pin = format!("version = \"={version}\"");
    let is_published = |line: &str| !UNPUBLISHED.iter().any(|name| line.starts_with(name));
    root.lines()
        .filter(|line| line.contains("path = \"crates/") && is_published(line))
        .filter(|line| !line.contains(&pin))
        .map(|line| format!("Cargo.toml: a sibling without {pin}: {line}"))
        .collect()
}

fn member_problems(file: &str, manifest: &str) -> Vec<String> {
    let mut problems: Vec<_> = SHARED
        .into_iter()
        .filter(|shared| !manifest.lines().any(|line| line == *shared))
        .map(|shared| format!("{file}: lacks `{shared}`"))
        .collect();
    if !manifest.contains("[lints]\nworkspace = true") {
        problems.push(format!("{file}: lacks the workspace's lints"));
    }
    let own = manifest.lines().filter(|line| is_own_dependency(line));
    problems.extend(own.map(|line| format!("{file}: not from the workspace's table: {line}")));
    problems
}

/// Whether a line says where a dependency comes from, which is the root manifest's business; but for that of examples on the
/// facade, from the facade's own or from a crate below it. A version there could never be published.
fn is_own_dependency(line: &str) -> bool {
    let Some((_, value)) = line.split_once(" = {") else {
        return false;
    };
    let facade = ["path = \".\"", "path = \"../etcd-lock\""];
    if facade
        .iter()
        .any(|path| value.trim_start().starts_with(path))
    {
        return false;
    }
    ["version =", "path =", "git ="]
        .iter()
        .any(|key| value.contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_the_root() {
        let root = "[workspace.package]\nversion = \"0.1.0\"\nrust-version = \"1.88\"\n";
        assert_eq!(package_value(root, "version"), "0.1.0");
        assert_eq!(package_value(root, "rust-version"), "1.88");
    }

    #[test]
    fn only_crates_of_the_workspace_are_members() {
        assert!(is_member("crates/a/Cargo.toml"));
        assert!(!is_member("crates/a/clients/rust/Cargo.toml"));
        assert!(!is_member("Cargo.toml"));
    }

    #[test]
    fn siblings_are_pinned() {
        let pinned = "a = { path = \"crates/a\", version = \"=0.1.0\" }";
        assert_eq!(unpinned(pinned, "0.1.0").len(), 0);
        assert_eq!(unpinned(pinned, "0.2.0").len(), 1);
        assert_eq!(unpinned("a = { path = \"crates/a\" }", "0.1.0").len(), 1);
    }

    #[test]
    fn members_take_everything_from_the_workspace() {
        let good = format!(
            "{}\n[dependencies]\nbytes.workspace = true\n[lints]\nworkspace = true\n",
            SHARED.join("\n")
        );
        assert_eq!(member_problems("x", &good), [""; 0]);
        assert_eq!(member_problems("x", "").len(), SHARED.len() + 1);
        let own = format!("{good}[dependencies]\nbytes = {{ version = \"1\" }}");
        assert_eq!(member_problems("x", &own).len(), 1);
        let itself =
            format!("{good}[dev-dependencies]\na = {{ path = \".\", features = [\"b\"] }}");
        assert_eq!(member_problems("x", &itself), [""; 0]);
    }
}
