//! `etcd-lock run` with commands that don't behave, in surroundings that offer little.

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::etcd::Etcd;
use crate::program::Program;

/// How many wait for one lock at once.
const CROWD: usize = 50;

crate::tests_on!([served real] {
    of_a_crowd_one_runs_at_a_time
});

crate::tests_on!(only served {
    a_command_that_is_killed_leaves_nothing
    a_command_that_leaves_a_daemon_behind_has_ended
});

/// The increments would lose some if two ran at once.
async fn of_a_crowd_one_runs_at_a_time(etcd: &Etcd) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("counter");
    std::fs::write(&file, "0").unwrap();
    let script = "n=$(cat \"$1\"); sleep 0.01; echo $((n + 1)) > \"$1\"";
    let args = [
        "run",
        "crowd",
        "--quiet",
        "--shell",
        script,
        file.to_str().unwrap(),
    ];
    let crowd: Vec<_> = (0..CROWD).map(|_| etcd.start(args)).collect();
    for program in crowd {
        program.end().await.with(0);
    }
    let counted = std::fs::read_to_string(&file).unwrap();
    assert_eq!(counted.trim(), CROWD.to_string());
    etcd.nothing_is_left("crowd").await;
}

async fn a_command_that_is_killed_leaves_nothing(etcd: &Etcd) {
    let args = ["run", "rough", "--", "sh", "-c", "kill -KILL $$"];
    etcd.end_of(args).await.with(137);
    etcd.nothing_is_left("rough").await;
}

async fn a_command_that_leaves_a_daemon_behind_has_ended(etcd: &Etcd) {
    let daemon = "setsid sleep 30 > /dev/null 2>&1 < /dev/null &";
    etcd.end_of(["run", "rough", "--shell", daemon])
        .await
        .with(0);
    etcd.nothing_is_left("rough").await;
}

#[tokio::test]
async fn each_signal_is_handed_on() {
    let etcd = Etcd::embedded().await;
    let script = "n=0; trap 'n=$((n + 1)); echo $n; [ $n = 2 ] && exit 5' INT; echo ready; \
        while :; do sleep 0.02; done";
    let mut program = etcd.start(["run", "rough", "--", "sh", "-c", script]);
    assert_eq!(program.line().await, "ready");
    program.signal(Signal::SIGINT);
    assert_eq!(program.line().await, "1");
    program.signal(Signal::SIGINT);
    assert_eq!(program.end().await.with(5).stdout, "2\n");
}

#[tokio::test]
async fn ten_mebibytes_of_output_pass_through() {
    let etcd = Etcd::embedded().await;
    let script = "head -c 10485760 /dev/zero | tr '\\0' x";
    let end = etcd
        .end_of(["run", "rough", "--shell", script])
        .await
        .with(0);
    assert_eq!(end.stdout.len(), 10 << 20);
}

#[tokio::test]
async fn a_command_whose_output_nobody_reads_is_ended_by_the_pipe() {
    let etcd = Etcd::embedded().await;
    let (reader, deaf) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = etcd.command(["run", "rough", "yes"]);
    let status = command.stdout(deaf).status().await.unwrap();
    assert_eq!(status.code(), Some(128 + Signal::SIGPIPE as i32));
}

#[tokio::test]
async fn a_full_disk_is_the_commands_to_tell() {
    let etcd = Etcd::embedded().await;
    let mut command = etcd.command(["run", "rough", "--", "sh", "-c", "echo lost || exit 9"]);
    command.stdout(std::fs::File::create("/dev/full").unwrap());
    assert_eq!(command.status().await.unwrap().code(), Some(9));
}

/// As cron starts it: no terminal, no home, hardly a path.
#[tokio::test]
async fn a_bare_environment_is_enough() {
    let mut command = Command::new("env");
    command.args(["--ignore-environment", "PATH=/usr/bin:/bin"]);
    command.arg(env!("CARGO_BIN_EXE_etcd-lock"));
    command.args([
        "run",
        "rough",
        "--embedded",
        "--",
        "sh",
        "-c",
        "echo $ETCD_LOCK_NAME",
    ]);
    let end = Program::start(command).end().await.with(0);
    assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("rough\n", ""));
}

#[tokio::test]
async fn a_command_can_ignore_that_it_is_told_to_end() {
    let etcd = Etcd::embedded().await;
    let script = "trap '' TERM; echo ready; read line; echo done";
    let mut program = etcd.start(["run", "rough", "--", "sh", "-c", script]);
    assert_eq!(program.line().await, "ready");
    program.signal(Signal::SIGTERM);
    program.say("go on\n").await;
    assert_eq!(program.end().await.with(0).stdout, "done\n");
}
