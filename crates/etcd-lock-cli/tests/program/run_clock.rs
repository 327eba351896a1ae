//! Clocks that jump: what people see on their clocks is of no account, and what a lease is counted by is.
//!
//! `libfaketime` answers the program's questions for the time, and the command's. Its answers are moved by what a file says.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::program::Program;

/// Where Debian puts it. The loader knows the directory of the architecture.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// Says that it holds the lock and what time it is, and once more when it is asked to. It is told to end, if it is.
const COMMAND: &str = "trap 'echo told; exit 0' TERM; date +%s; while read line; do date +%s; done";

const DAY: i64 = 24 * 60 * 60;

crate::tests_on!(only served {
    a_wall_clock_that_jumps_forth_and_back_changes_nothing
    a_lock_whose_lease_may_have_ended_by_the_clock_is_lost
});

async fn a_wall_clock_that_jumps_forth_and_back_changes_nothing(etcd: &Etcd) {
    let clock = Clock::new();
    let mut program = clock.start(etcd, &[("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    let begun = seconds(&mut program).await;
    for days in [1, -1] {
        clock.shift(days * DAY);
        program.say("what time is it?\n").await;
        let shown = seconds(&mut program).await - begun;
        assert!((shown - days * DAY).abs() < DAY / 2, "{days}: {shown}");
        // The lock is held all the while.
        etcd.end_of(["run", "--no-wait", "clock", "true"])
            .await
            .with(75);
    }
    let end = program.end().await.with(0);
    assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("", ""));
    etcd.nothing_is_left("clock").await;
}

/// As after a pause of the whole machine: etcd's answers of before say nothing any more.
async fn a_lock_whose_lease_may_have_ended_by_the_clock_is_lost(etcd: &Etcd) {
    let clock = Clock::new();
    let mut program = clock.start(etcd, &[]);
    seconds(&mut program).await;
    clock.shift(DAY);
    let end = program.end_by_itself().await.with(79);
    assert_eq!(end.stdout, "told\n");
    etcd.nothing_is_left("clock").await;
}

async fn seconds(program: &mut Program) -> i64 {
    program.line().await.parse().unwrap()
}

/// The clocks of a program.
struct Clock {
    file: PathBuf,
    _folder: TempDir,
}

impl Clock {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("shift");
        let clock = Self {
            file,
            _folder: folder,
        };
        clock.shift(0);
        clock
    }

    /// Moves them to so many seconds after the true time.
    fn shift(&self, seconds: i64) {
        fs::write(&self.file, format!("{seconds:+}\n")).unwrap();
    }

    /// Starts the program with these clocks.
    fn start(&self, etcd: &Etcd, variables: &[(&str, &str)]) -> Program {
        let mut command = etcd.command(["run", "clock", "--", "sh", "-c", COMMAND]);
        command
            .env("LD_PRELOAD", LIBRARY)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .envs(variables.iter().copied());
        Program::start(command)
    }
}
