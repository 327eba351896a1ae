//! Running a program, and talking with it.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// How long is waited for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test, with none of the caller's settings.
pub(crate) fn etcd_lock() -> Command {
    // Started in the background by some shell, the tests may have been told to ignore signals.
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal", env!("CARGO_BIN_EXE_etcd-lock")]);
    command.env("XDG_CONFIG_HOME", "/no/such/directory");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("ETCD_LOCK_") || text.starts_with("ETCDCTL_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program under test to its end, with nothing to read.
pub(crate) async fn end_of<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> End {
    let mut command = etcd_lock();
    command.args(args);
    Program::start(command).end().await
}

/// A program that runs. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Writes to its standard input.
    pub(crate) async fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        let reading = self.stdout.read_line(&mut line);
        match timeout(PATIENCE, reading).await {
            Ok(read) => assert_ne!(read.unwrap(), 0, "it ended without another line"),
            Err(_) => panic!("it printed no line"),
        }
        line.trim_end().to_owned()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id().unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Closes its standard input and waits for its end, and for that of all who hold its outputs.
    pub(crate) async fn end(mut self) -> End {
        self.stdin = None;
        self.end_by_itself().await
    }

    /// Waits for its end while its standard input stays open.
    pub(crate) async fn end_by_itself(mut self) -> End {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut errors = self.child.stderr.take().unwrap();
        let ending = async {
            tokio::try_join!(
                self.stdout.read_to_string(&mut stdout),
                errors.read_to_string(&mut stderr),
            )?;
            self.child.wait().await
        };
        let status = timeout(PATIENCE, ending).await;
        let Ok(status) = status else {
            panic!("it did not end; so far it said {stdout:?} and {stderr:?}");
        };
        End {
            code: status.unwrap().code(),
            stdout,
            stderr,
        }
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct End {
    /// Nothing where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl End {
    /// That it ended with this status, without a panic.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// That it complained in these words.
    #[track_caller]
    pub(crate) fn saying(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} not in {self:?}");
        self
    }
}
