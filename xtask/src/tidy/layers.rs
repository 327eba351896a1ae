//! Which crate may depend on which, proven by what cargo would build.

use std::collections::BTreeSet;

use xshell::{Shell, cmd};

use crate::Result;

/// A crate, with features, and what its tree must not have: neither by itself nor through others.
struct Absence {
    package: &'static str,
    features: &'static [&'static str],
    absent: &'static [&'static str],
}

const NONE: &[&str] = &["--no-default-features"];
const DEFAULT: &[&str] = &[];
const ALL: &[&str] = &["--all-features"];

const ABSENCES: &[Absence] = &[
    Absence {
        package: "etcd-lock-core",
        features: ALL,
        absent: &["tokio", "tonic", "prost", "hyper", "tower"],
    },
    Absence {
        package: "etcd-lock-queue",
        features: ALL,
        absent: &["tokio", "tonic", "prost", "hyper", "tower"],
    },
    Absence {
        package: "etcd-lock-session",
        features: ALL,
        absent: &["tonic", "prost", "hyper"],
    },
    Absence {
        package: "etcd-lock-session",
        features: NONE,
        absent: &["jiff", "serde_json", "whoami"],
    },
    Absence {
        package: "etcd-lock-proto",
        features: DEFAULT,
        absent: &["etcd-lock-core", "tonic", "tokio", "hyper"],
    },
    Absence {
        package: "etcd-lock-memory",
        features: DEFAULT,
        absent: &["tonic", "hyper"],
    },
    Absence {
        package: "etcd-lock",
        features: NONE,
        absent: &["tonic", "hyper", "rustls"],
    },
    // Cryptography is the program's choice.
    Absence {
        package: "etcd-lock",
        features: DEFAULT,
        absent: &["rustls", "ring", "aws-lc-rs"],
    },
];

/// The dependencies of `docs/architecture.md`: what each crate may name as a dependency, tests aside.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("etcd-lock-core", &[]),
    ("etcd-lock-proto", &["etcd-lock-core"]),
    ("etcd-lock-queue", &["etcd-lock-core"]),
    ("etcd-lock-session", &["etcd-lock-core", "etcd-lock-queue"]),
    ("etcd-lock-group", &["etcd-lock-core"]),
    ("etcd-lock-grpc", &["etcd-lock-core", "etcd-lock-proto"]),
    ("etcd-lock-memory", &["etcd-lock-core", "etcd-lock-proto"]),
    (
        "etcd-lock",
        &[
            "etcd-lock-core",
            "etcd-lock-group",
            "etcd-lock-grpc",
            "etcd-lock-memory",
            "etcd-lock-session",
        ],
    ),
    ("etcd-lock-cli", &["etcd-lock"]),
];

pub(super) fn check(sh: &Shell) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for absence in ABSENCES {
        let tree = tree(sh, absence.package, absence.features)?;
        problems.extend(present(&tree, absence.absent).into_iter().map(|found| {
            let package = [&[absence.package], absence.features].concat().join(" ");
            format!("{package}: must not depend on {found}")
        }));
    }
    for (package, allowed) in DEPENDENCIES {
        let tree = tree(sh, package, &["--all-features", "--depth", "1"])?;
        problems.extend(forbidden(&tree, allowed).map(|found| {
            format!("{package}: must not depend on {found}: a crate depends on lower layers only")
        }));
    }
    Ok(problems)
}

/// A package and what it is built of, one a line.
fn tree(sh: &Shell, package: &str, options: &[&str]) -> Result<String> {
    let tree = cmd!(
        sh,
        "cargo tree --package {package} {options...} --edges normal,build --prefix none"
    );
    Ok(tree.quiet().read()?)
}

/// The crates of a tree, one a line, that are on a list.
fn present<'a>(tree: &'a str, absent: &'a [&str]) -> BTreeSet<&'a str> {
    names(tree).filter(|name| absent.contains(name)).collect()
}

/// Our own crates below the first line of a tree that are not on a list.
fn forbidden<'a>(tree: &'a str, allowed: &'a [&str]) -> impl Iterator<Item = &'a str> {
    names(tree)
        .skip(1)
        .filter(|name| name.starts_with("etcd-lock") && !allowed.contains(name))
}

fn names(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "etcd-lock-session v0.1.0 (/w/crates/etcd-lock-session)\n\
                        etcd-lock-core v0.1.0 (/w/crates/etcd-lock-core)\n\
                        tokio v1.54.1\n\
                        etcd-lock-core v0.1.0 (/w/crates/etcd-lock-core) (*)";

    #[test]
    fn what_must_be_absent_is_found() {
        assert_eq!(present(TREE, &["tokio", "tonic"]), ["tokio"].into());
        assert_eq!(present(TREE, &["toki", "tokio-util"]), [].into());
    }

    #[test]
    fn a_dependency_on_a_higher_layer_is_found() {
        assert_eq!(forbidden(TREE, &["etcd-lock-core"]).count(), 0);
        assert_eq!(forbidden(TREE, &[]).next(), Some("etcd-lock-core"));
    }
}
