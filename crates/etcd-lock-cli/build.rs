//! Tells the program what it is built from, for `--version`.

use std::env;
use std::path::Path;
use std::process::Command;

/// The features that bring TLS, with their variables.
const TLS: [(&str, &str); 4] = [
    ("ring", "CARGO_FEATURE_TLS_RING"),
    ("aws-lc", "CARGO_FEATURE_TLS_AWS_LC"),
    ("native-roots", "CARGO_FEATURE_TLS_NATIVE_ROOTS"),
    ("webpki-roots", "CARGO_FEATURE_TLS_WEBPKI_ROOTS"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = env::var("RUSTC").ok();
    let compiler = compiler.and_then(|rustc| line(&rustc, &["--version"]));
    tell("COMMIT", commit());
    tell("COMPILER", compiler);
    tell("TARGET", env::var("TARGET").ok());
    let tls = TLS
        .iter()
        .filter(|(_, variable)| env::var_os(variable).is_some());
    let tls: Vec<_> = tls.map(|(name, _)| *name).collect();
    let tls = if tls.is_empty() {
        "none".to_owned()
    } else {
        tls.join(", ")
    };
    tell("TLS", Some(tls));
}

fn tell(name: &str, value: Option<String>) {
    let value = value.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=ETCD_LOCK_BUILD_{name}={value}");
}

/// Nothing where this package is no part of a checkout: unpacked from a registry, it may lie in somebody else's.
fn commit() -> Option<String> {
    line("git", &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    // The log grows with each commit, checkout and rebase. A file that is missing would have this run each time.
    for file in ["HEAD", "logs/HEAD"] {
        let file = line("git", &["rev-parse", "--git-path", file])?;
        if Path::new(&file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    line("git", &["rev-parse", "--short=12", "HEAD"])
}

/// The first line that a program prints. Nothing where it isn't there or fails.
fn line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim().to_owned();
    output.status.success().then_some(line)
}
