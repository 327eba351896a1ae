//! Where settings come from: flags, the environment, a configuration file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::program::{End, Program, end_of, etcd_lock};

/// Each setting as (name, variable, value in the file).
const SETTINGS: [(&str, &str, &str); 12] = [
    ("endpoints", "ETCDCTL_ENDPOINTS", "\"f:1\""),
    ("cacert", "ETCDCTL_CACERT", "\"/f\""),
    ("cert", "ETCDCTL_CERT", "\"/f\""),
    ("key", "ETCDCTL_KEY", "\"/f\""),
    ("server-name", "ETCD_LOCK_SERVER_NAME", "\"f\""),
    ("user", "ETCDCTL_USER", "\"f\""),
    ("password-file", "ETCD_LOCK_PASSWORD_FILE", "\"/f\""),
    ("dial-timeout", "ETCDCTL_DIAL_TIMEOUT", "\"30s\""),
    ("command-timeout", "ETCDCTL_COMMAND_TIMEOUT", "30"),
    ("keepalive-time", "ETCDCTL_KEEPALIVE_TIME", "\"30s\""),
    ("keepalive-timeout", "ETCDCTL_KEEPALIVE_TIMEOUT", "\"30s\""),
    ("insecure-transport", "ETCDCTL_INSECURE_TRANSPORT", "false"),
];

#[tokio::test]
async fn flag_counts_more_than_variable_and_variable_more_than_file() {
    let home = Home::new();
    for (name, variable, in_file) in SETTINGS {
        home.write(&format!("# Ours.\n{name} = {in_file}\n"));
        let value = match name {
            "insecure-transport" => "true",
            _ if name.contains("time") => "20s",
            _ => "v",
        };
        let show = async |environment: bool, flag: bool| {
            let mut command = home.command();
            if environment {
                command.env(variable, value);
            }
            if flag {
                command.arg(format!("--{name}={value}"));
            }
            command.args(["config", "-o", "json"]);
            let mut shown: Value = serde_json::from_str(&end(command).await.stdout).unwrap();
            shown["settings"][name].take()
        };

        let of_file = show(false, false).await;
        assert_eq!(of_file["from"], "file", "{name}: {of_file}");
        assert_eq!(of_file["value"], in_file.trim_matches('"'), "{name}");
        assert_eq!(of_file["line"], 2, "{name}");
        let of_variable = show(true, false).await;
        assert_eq!(of_variable["from"], "variable", "{name}: {of_variable}");
        assert_eq!(of_variable["variable"], variable);
        assert_eq!(of_variable["value"], value, "{name}");
        assert_eq!(show(true, true).await["from"], "flag", "{name}");
        assert_eq!(show(false, true).await["from"], "flag", "{name}");
    }
}

#[tokio::test]
async fn setting_without_a_source_has_its_default() {
    let end = end_of(["config"]).await.with(0);
    let line = |name: &str| end.stdout.lines().find(|line| line.starts_with(name));
    let endpoints = line("endpoints").unwrap();
    assert!(endpoints.contains("127.0.0.1:2379") && endpoints.ends_with("default"));
    assert!(line("cacert").unwrap().ends_with("not set"));
}

#[tokio::test]
async fn file_is_found_by_flag_then_variable_then_usual_place() {
    let (home, other) = (Home::new(), Home::new());
    home.write("endpoints = \"usual:1\"");
    other.write("endpoints = \"named:1\"");
    let named = other.file();
    let shown = async |variable: Option<&Path>, flag: Option<&Path>| {
        let mut command = home.command();
        command.envs(variable.map(|file| ("ETCD_LOCK_CONFIG", file)));
        if let Some(file) = flag {
            command.arg("--config").arg(file);
        }
        command.arg("config");
        end(command).await.stdout
    };

    assert!(shown(None, None).await.contains("usual:1"));
    assert!(shown(Some("".as_ref()), None).await.contains("usual:1"));
    assert!(shown(Some(&named), None).await.contains("named:1"));
    let missing = Path::new("/no/such/file");
    assert!(shown(Some(missing), Some(&named)).await.contains("named:1"));
    let empty = Path::new("/dev/null");
    assert!(
        shown(Some(&named), Some(empty))
            .await
            .contains("127.0.0.1:2379")
    );
    shown_missing(&home, missing).await;
}

async fn shown_missing(home: &Home, missing: &Path) {
    let mut command = home.command();
    command.arg("--config").arg(missing).arg("config");
    let end = Program::start(command).end().await;
    end.with(64).saying("/no/such/file").saying("--config");
}

#[tokio::test]
async fn file_in_the_home_directory_is_found() {
    let home = Home::new();
    let dir = home.0.path().join(".config/etcd-lock");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.toml"), "endpoints = \"home:1\"").unwrap();
    let mut command = etcd_lock();
    command
        .env_remove("XDG_CONFIG_HOME")
        .env("HOME", home.0.path());
    command.arg("config");
    assert!(end(command).await.stdout.contains("home:1"));
}

#[tokio::test]
async fn lock_is_taken_on_the_etcd_that_the_file_names() {
    let etcd = Etcd::served().await;
    let home = Home::new();
    home.write(&format!("endpoints = [\"{}\"]", etcd.endpoint()));
    let mut command = home.command();
    command.args(["lock", "name"]);
    end(command).await;
    assert_eq!(etcd.queue("name").await.len(), 1);
}

#[tokio::test]
async fn path_in_the_file_is_relative_to_the_file() {
    let home = Home::new();
    home.write("user = \"me\"\npassword-file = \"password\"");
    let path = home.file().with_file_name("password");
    let mut command = home.command();
    command.arg("config");
    let missing = Program::start(command).end().await;
    missing.with(64).saying(path.to_str().unwrap());
    fs::write(&path, "secret").unwrap();
    let mut command = home.command();
    command.arg("config").current_dir("/");
    end(command).await;
}

#[tokio::test]
async fn wrong_file_ends_with_64_and_names_the_line() {
    let home = Home::new();
    for (text, reasons) in [
        ("\nendpoint = \"a:1\"", ["line 2", "\"endpoints\""]),
        ("password = \"secret\"", ["line 1", "password-file"]),
        ("user = \"me:secret\"", ["line 1", "password-file"]),
        (
            "dial-timeout = \"soon\"",
            ["line 1", "dial-timeout = \"5s\""],
        ),
        ("endpoints: a", ["line 1", "no TOML"]),
    ] {
        home.write(text);
        for args in [&["config"][..], &["list"], &["run", "a", "true"]] {
            let mut command = home.command();
            command.args(args);
            let end = Program::start(command).end().await;
            assert!(!end.stderr.contains("secret"), "{end:?}");
            let file = home.file();
            let end = end.with(64).saying(file.to_str().unwrap());
            end.saying(reasons[0]).saying(reasons[1]);
        }
    }
}

#[tokio::test]
async fn embedded_etcd_ignores_file_and_environment() {
    let home = Home::new();
    home.write("it is no TOML");
    let mut command = home.command();
    command.env("ETCDCTL_COMMAND_TIMEOUT", "soon");
    command.env("ETCDCTL_CERT", "/no/such/file");
    command.args(["--embedded", "lock", "name"]);
    end(command).await;
}

#[tokio::test]
async fn embedded_etcd_and_an_etcd_elsewhere_exclude_each_other() {
    for args in [
        &["--embedded", "--endpoints", "a:1", "list"][..],
        &["--embedded", "list", "--endpoints", "a:1"],
        &["list", "--embedded", "--cacert", "a"],
        &["--config", "a", "list", "--embedded"],
    ] {
        end_of(args).await.with(64).saying("--embedded");
    }
    end_of(["--embedded", "status", "a", "--command-timeout", "1s"])
        .await
        .with(0);
}

#[tokio::test]
async fn secrets_are_hidden() {
    for args in [&["config"][..], &["config", "-o", "json"]] {
        let mut command = etcd_lock();
        command.env("ETCDCTL_PASSWORD", "secret").args(args);
        command.args(["--user", "me:secret"]);
        let end = end(command).await;
        assert!(!end.stdout.contains("secret"), "{end:?}");
        assert!(end.stdout.contains("me:(hidden)"), "{end:?}");
    }
}

#[tokio::test]
async fn settings_that_dont_go_together_are_shown_and_complained_of() {
    let end = end_of(["config", "--cert", "a.pem"]).await.with(64);
    assert!(end.stdout.contains("a.pem"), "{end:?}");
    end.saying("--key");
}

#[tokio::test]
async fn options_of_etcdctl_that_are_dangerous_are_refused_with_a_reason() {
    for (flag, reason) in [
        ("--insecure-skip-tls-verify", "could grant locks"),
        ("--discovery-srv=example.org", "isn't signed"),
    ] {
        end_of([flag, "list"]).await.with(64).saying(reason);
    }
}

async fn end(command: tokio::process::Command) -> End {
    let end = Program::start(command).end().await;
    assert!(!end.stderr.contains("panicked"), "{end:?}");
    end
}

/// A directory for the configuration file of a user.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.0.path().join("etcd-lock")).unwrap();
        home
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("etcd-lock/config.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    fn command(&self) -> tokio::process::Command {
        let mut command = etcd_lock();
        command.env("XDG_CONFIG_HOME", self.0.path());
        command
    }
}
