//! Help, man pages, completions and the version, which all come from one definition.

use std::fs;

use crate::etcd::Etcd;
use crate::program::{Program, end_of, etcd_lock};

const COMMANDS: [&str; 13] = [
    "bench",
    "break",
    "completions",
    "config",
    "doctor",
    "list",
    "lock",
    "man",
    "renew",
    "run",
    "serve",
    "status",
    "unlock",
];

/// The commands that connect to no etcd, as they are called.
const LOCAL: [&[&str]; 3] = [
    &["serve", "--listen", "127.0.0.1:0"],
    &["completions", "bash"],
    &["man"],
];

#[tokio::test]
async fn short_help_fits_a_screen() {
    let commands = COMMANDS.map(|command| vec![command, "-h"]);
    for args in commands.into_iter().chain([vec!["-h"]]) {
        let help = end_of(&args).await.with(0).stdout;
        let lines = help.lines().count();
        assert!((8..=40).contains(&lines), "{args:?} has {lines} lines");
    }
}

#[tokio::test]
async fn long_help_has_variables_and_exit_statuses() {
    let help = end_of(["--help"]).await.with(0).stdout;
    for text in [
        "ETCDCTL_CACERT",
        "ETCD_LOCK_CONFIG",
        "--keepalive-time",
        "Exit status:",
        "\n  69 ",
    ] {
        assert!(help.contains(text), "{text}: {help}");
    }
    assert!(!help.contains("--insecure-skip-tls-verify"), "{help}");
}

#[tokio::test]
async fn local_command_refuses_options_of_a_connection() {
    for command in LOCAL {
        let help = end_of([command[0], "--help"]).await.with(0).stdout;
        assert!(!help.contains("--endpoints"), "{help}");
        for option in [
            &["--endpoints", "a:1"][..],
            &["--embedded"],
            &["--config", "a"],
        ] {
            let before = [option, command].concat();
            end_of(&before).await.with(64).saying(option[0]);
            let after = [command, option].concat();
            end_of(&after).await.with(64).saying(option[0]);
        }
    }
}

#[tokio::test]
async fn option_of_a_connection_may_stand_before_and_behind_the_command() {
    let etcd = Etcd::served().await;
    let flags = ["--endpoints", &etcd.endpoint()];
    for (number, command) in [&["lock", "a"][..], &["run", "b", "true"], &["status", "a"]]
        .into_iter()
        .enumerate()
    {
        end_of([&flags[..], command].concat()).await.with(0);
        let (name, rest) = command.split_first().unwrap();
        let behind = [&[*name], &flags[..], rest].concat();
        let wait = ["--wait", "10ms"];
        match number {
            0 => end_of([&behind[..], &wait].concat()).await.with(75),
            _ => end_of(behind).await.with(0),
        };
    }
}

/// What stands behind counts more.
#[tokio::test]
async fn option_behind_the_command_counts_more_than_one_before_it() {
    let etcd = Etcd::served().await;
    let endpoint = etcd.endpoint();
    let args = [
        "--endpoints",
        "127.0.0.1:1",
        "lock",
        "--endpoints",
        &endpoint,
        "a",
    ];
    end_of(args).await.with(0);
}

#[tokio::test]
async fn version_is_short_or_with_build_data() {
    let short = end_of(["-V"]).await.with(0).stdout;
    let version = concat!("etcd-lock ", env!("CARGO_PKG_VERSION"));
    assert_eq!(short.trim_end(), version);
    let long = end_of(["--version"]).await.with(0).stdout;
    assert!(long.starts_with(version), "{long}");
    for label in ["commit: ", "compiler: rustc ", "target: ", "TLS: "] {
        assert!(long.contains(label), "{label}: {long}");
    }
}

#[tokio::test]
async fn completions_of_each_shell_name_each_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = end_of(["completions", shell]).await.with(0).stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{command} for {shell}");
        }
        assert!(script.contains("command-timeout"), "{shell}");
    }
    end_of(["completions", "cmd"]).await.with(64).saying("bash");
}

#[tokio::test]
async fn main_man_page_is_printed() {
    check_page("etcd-lock", &end_of(["man"]).await.with(0).stdout);
}

#[tokio::test]
async fn man_page_of_each_command_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("new/man1");
    end_of(["man", pages.to_str().unwrap()]).await.with(0);
    let names = COMMANDS.map(|command| format!("etcd-lock-{command}"));
    for name in names.iter().map(String::as_str).chain(["etcd-lock"]) {
        let file = pages.join(format!("{name}.1"));
        check_page(name, &fs::read_to_string(&file).unwrap());
    }
    // There are no others.
    assert_eq!(fs::read_dir(&pages).unwrap().count(), names.len() + 1);
}

fn check_page(name: &str, page: &str) {
    let first = page.lines().find(|line| line.starts_with(".TH"));
    assert!(first.is_some_and(|line| line.contains(name)), "{page}");
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS"] {
        let heading = format!(".SH {section}\n");
        let quoted = format!(".SH \"{section}\"\n");
        assert!(
            page.contains(&heading) || page.contains(&quoted),
            "{section} of {name}: {page}"
        );
    }
    assert!(page.contains("\n  69   "), "{name}: {page}");
}

#[tokio::test]
async fn man_pages_that_cant_be_written_end_with_71() {
    let end = end_of(["man", "/dev/null/pages"]).await;
    end.with(71).saying("/dev/null/pages");
}

#[tokio::test]
async fn output_that_nobody_reads_is_no_panic() {
    for args in [&["completions", "zsh"][..], &["man"], &["config"]] {
        let (reader, deaf) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = etcd_lock();
        command.args(args).stdout(deaf);
        let output = command.output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    }
    Program::start(etcd_lock()).end().await.with(64);
}
