//! `etcd-lock run` itself is killed, or its command is, and nobody can do anything about it any more.

use nix::sys::signal::Signal;

use crate::etcd::Etcd;
use crate::program::Program;

const POLITE: &str = "trap 'echo told; exit' TERM; echo held; while :; do sleep 0.02; done";

crate::tests_on!([embedded] {
    a_program_that_is_killed_has_its_command_told
    a_program_that_is_killed_has_its_command_killed_if_that_is_its_choice
    a_program_that_is_killed_leaves_its_command_alone_if_that_is_its_choice
});

async fn a_program_that_is_killed_has_its_command_told(etcd: &Etcd) {
    let program = killed(etcd, "terminate", POLITE).await;
    // Its output ends with the command.
    assert_eq!(program.end_by_itself().await.stdout, "told\n");
}

async fn a_program_that_is_killed_has_its_command_killed_if_that_is_its_choice(etcd: &Etcd) {
    let program = killed(etcd, "kill", POLITE).await;
    assert_eq!(program.end_by_itself().await.stdout, "");
}

async fn a_program_that_is_killed_leaves_its_command_alone_if_that_is_its_choice(etcd: &Etcd) {
    let script = "trap 'echo told; exit' TERM; echo held; read line; echo done";
    let mut program = killed(etcd, "ignore", script).await;
    program.say("go on\n").await;
    assert_eq!(program.end_by_itself().await.stdout, "done\n");
}

/// A program that was killed while its command ran.
async fn killed(etcd: &Etcd, on_lost: &str, script: &str) -> Program {
    let mut program = etcd.start([
        "run",
        "killed",
        "--on-lost",
        on_lost,
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(program.line().await, "held");
    program.signal(Signal::SIGKILL);
    program
}
