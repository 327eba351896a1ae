//! A pseudo-terminal: its screen and its keyboard.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout};

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long is looked on at a time.
const STEP: Duration = Duration::from_millis(10);

const ROWS: u16 = 24;
const COLUMNS: u16 = 120;

/// A terminal. Its programs are told that it has hung up when it is dropped.
pub(crate) struct Terminal {
    keyboard: File,
    output: UnboundedReceiver<Vec<u8>>,
    screen: vt100::Parser,
    child: Child,
}

impl Terminal {
    /// Starts a program as the leader of a session at a terminal of its own.
    pub(crate) fn start(command: &Command) -> Self {
        let (keyboard, slave) = open();
        let command = command.as_std();
        let mut session = Command::new("setsid");
        session
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(Stdio::from(slave))
            .kill_on_drop(true);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            session.current_dir(directory);
        }
        let child = session.spawn().unwrap();
        Self {
            output: read(keyboard.try_clone().unwrap()),
            keyboard,
            screen: vt100::Parser::new(
                NonZero::new(ROWS).unwrap(),
                NonZero::new(COLUMNS).unwrap(),
                0,
            ),
            child,
        }
    }

    /// Starts a shell that has job control.
    pub(crate) fn shell() -> Self {
        Self::start(&shell("ready> "))
    }

    /// Types keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows this, and returns all that it shows.
    pub(crate) async fn shows(&mut self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text)).await
    }

    /// Waits until the screen doesn't show this any more.
    pub(crate) async fn shows_no(&mut self, text: &str) {
        self.until(text, |screen| !screen.contains(text)).await;
    }

    /// What is seen now.
    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    /// Looks on for a while. Returns whether anybody has the terminal open still.
    pub(crate) async fn watch(&mut self, time: Duration) -> bool {
        let reading = async {
            while let Some(bytes) = self.output.recv().await {
                self.screen.process(&bytes);
            }
        };
        timeout(time, reading).await.is_err()
    }

    /// Waits for the end of all that is at the terminal. Returns the first program's status, and what is on the screen.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let ended = !self.watch(PATIENCE).await;
        let shown = self.screen.screen().contents();
        assert!(ended, "it did not end, and shows {shown:?}");
        (self.child.wait().await.unwrap().code(), shown)
    }

    async fn until(&mut self, text: &str, is_there: impl Fn(&str) -> bool) -> String {
        let limit = Instant::now() + PATIENCE;
        loop {
            let shown = self.screen.screen().contents();
            if is_there(&shown) {
                return shown;
            }
            assert!(
                Instant::now() < limit,
                "it stays, for {text:?}, at {shown:?}"
            );
            let is_open = self.watch(STEP).await;
            assert!(
                is_open || is_there(&self.screen.screen().contents()),
                "it ended, for {text:?}, with {shown:?}"
            );
        }
    }
}

/// A shell that people type at.
pub(crate) fn shell(prompt: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", "bash"]);
    command.args(["--norc", "--noprofile", "--noediting", "-i"]);
    command.env("PS1", prompt);
    command
}

/// Both ends of a pseudo-terminal. Nothing that is started elsewhere meanwhile has them as well: it would keep them open.
fn open() -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let keyboard = openpt(flags).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let size = Winsize {
        ws_row: ROWS,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&keyboard, size).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap();
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(OFlags::NOCTTY.bits().cast_signed());
    let slave = options.open(OsStr::from_bytes(name.as_bytes())).unwrap();
    (File::from(keyboard), slave)
}

/// Reads until nobody has the terminal open any more.
fn read(mut from: File) -> UnboundedReceiver<Vec<u8>> {
    let (tell, output) = unbounded_channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if tell.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    output
}
