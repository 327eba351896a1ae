//! Commands that can't work are refused before any etcd is asked: nobody listens at the endpoint of these tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::program::{Program, end_of, etcd_lock};

const NOBODY: [&str; 2] = ["--endpoints", "127.0.0.1:1"];

#[tokio::test]
async fn a_wrong_command_line_ends_with_64() {
    for (args, says) in [
        (&[][..], "Usage"),
        (&["no-such-command"], "no-such-command"),
        (&["run"], "NAME"),
        (&["run", "name"], "COMMAND"),
        (&["run", "name", "--bogus", "true"], "--bogus"),
        (&["run", "name", "--ttl", "0", "true"], "longer than zero"),
        (&["run", "name", "--ttl", "soon", "true"], "soon"),
        (&["run", "name", "--wait=-1s", "true"], "negative"),
        (
            &["run", "name", "--wait", "1s", "--no-wait", "true"],
            "--no-wait",
        ),
        (&["run", "name", "-E", "256", "true"], "256"),
        (&["run", "name", "--on-lost", "cry", "true"], "cry"),
        (
            &["run", "name", "--grace", "5s", "true"],
            "half of the time to live",
        ),
        (&["run", "", "true"], "name is empty"),
        (&["lock", ""], "name is empty"),
        (&["lock", "name", "--ttl", "9999999999"], "9000000000"),
        (&["unlock", ""], "key is empty"),
        (&["unlock", "name"], "not a lock's key"),
        (&["unlock", "name/0x1f"], "not a lock's key"),
    ] {
        let end = end_of(NOBODY.iter().chain(args)).await;
        end.with(64).saying(says);
    }
}

#[tokio::test]
async fn an_endpoint_that_cant_be_one_ends_with_64() {
    for endpoint in ["not a url", "localhost", "ftp://localhost:2379", ","] {
        let end = end_of(["--endpoints", endpoint, "run", "name", "true"]).await;
        end.with(64).saying("http://127.0.0.1:2379");
    }
}

#[tokio::test]
async fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let end = end_of(args).await.with(0);
        assert!(end.stdout.contains("etcd-lock"), "{end:?}");
        assert_eq!(end.stderr, "");
    }
}

#[tokio::test]
async fn help_tells_scripts_what_they_need() {
    let help = end_of(["run", "--help"]).await.with(0).stdout;
    for what in ["KEY", "LEASE", "NAME", "REV", "TOKEN"] {
        assert!(help.contains(&format!("ETCD_LOCK_{what} ")), "{help}");
    }
    for status in [64, 69, 70, 71, 75, 77, 79, 126, 127] {
        assert!(help.contains(&format!("\n  {status} ")), "{status}: {help}");
    }
}

#[tokio::test]
async fn a_command_that_is_not_there_ends_with_127() {
    for command in [
        "no-such-command",
        "./no/such/command",
        "/no/such/command",
        "",
    ] {
        let end = run(command).await;
        end.with(127).saying("there is no such command");
    }
}

#[tokio::test]
async fn a_command_that_cant_be_executed_ends_with_126() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes");
    fs::write(&file, "no program").unwrap();
    for command in [&file, dir.path()] {
        let end = run(command.to_str().unwrap()).await;
        end.with(126).saying("it can't be executed");
    }

    let mut on_path = etcd_lock();
    on_path
        .args(NOBODY)
        .args(["run", "name", "notes"])
        .env("PATH", dir.path());
    let end = Program::start(on_path).end().await;
    end.with(126).saying("it can't be executed");
}

/// As with any shell, a bare name means a program on the search path and no file that lies about.
#[tokio::test]
async fn a_bare_name_is_not_looked_for_here() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    for mode in [0o644, 0o755] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = etcd_lock();
        command
            .args(NOBODY)
            .args(["run", "name", "notes"])
            .current_dir(&dir);
        Program::start(command).end().await.with(127);
    }
}

async fn run(command: &str) -> crate::program::End {
    end_of(NOBODY.iter().chain(&["run", "name", command])).await
}
