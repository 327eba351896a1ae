//! The directory that an etcd keeps its data and logs in.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

const PREFIX: &str = "etcd-lock-";

/// A new directory in this one.
///
/// An etcd takes up some 120 MiB there. So what processes that were killed have left behind is removed first.
pub(super) fn directory(parent: &Path) -> TempDir {
    remove_orphans(parent);
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(parent)
        .unwrap()
}

/// In memory where that is possible, since etcd waits for the disk with every write.
pub(super) fn default_parent() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    match tempfile::tempfile_in(&memory) {
        Ok(_) => memory,
        Err(_) => std::env::temp_dir(),
    }
}

/// Two processes may do this at once, so a directory that is gone already is as good.
fn remove_orphans(parent: &Path) {
    for entry in fs::read_dir(parent).unwrap().flatten() {
        if is_orphan(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether it is one of ours and the process whose number it has is no more.
fn is_orphan(name: &str) -> bool {
    let owner = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next()?.parse().ok());
    owner.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_dead_processes_are_orphans() {
        assert!(is_orphan(&format!("etcd-lock-{}-x", i32::MAX)));
        assert!(!is_orphan(&format!("etcd-lock-{}-x", std::process::id())));
        assert!(!is_orphan("etcd-lock-notes"));
        assert!(!is_orphan("somebody-2147483647-x"));
    }
}
