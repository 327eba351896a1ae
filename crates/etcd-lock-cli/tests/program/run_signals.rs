//! Signals to the program: handed on to the command, or the end of a wait. Nothing is left in any case.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use crate::etcd::Etcd;
use crate::program::Program;

const SIGNALS: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

crate::tests_on!(only served {
    a_signal_is_handed_on
    a_command_that_a_signal_ends_tells
    a_signal_ends_a_wait
    a_signal_ends_a_release_that_gets_no_answer
});

async fn a_signal_is_handed_on(etcd: &Etcd) {
    for signal in SIGNALS {
        let name = &signal.as_str()[3..];
        let script =
            format!("trap 'echo got; exit 3' {name}; echo ready; while :; do sleep 0.02; done");
        let mut program = etcd.start(["run", "signal", "--", "sh", "-c", &script]);
        assert_eq!(program.line().await, "ready");
        program.signal(signal);
        assert_eq!(program.end().await.with(3).stdout, "got\n", "{signal}");
        etcd.nothing_is_left("signal").await;
    }
}

async fn a_command_that_a_signal_ends_tells(etcd: &Etcd) {
    for signal in SIGNALS {
        let mut program = etcd.start([
            "run",
            "signal",
            "--",
            "sh",
            "-c",
            "echo ready; exec sleep 60",
        ]);
        assert_eq!(program.line().await, "ready");
        program.signal(signal);
        program.end().await.with(128 + signal as i32);
        etcd.nothing_is_left("signal").await;
    }
}

async fn a_signal_ends_a_wait(etcd: &Etcd) {
    let holder = etcd.hold("signal", &[]).await;
    for signal in SIGNALS {
        for command in [&["run", "signal", "echo", "ran"][..], &["lock", "signal"]] {
            let waiter = etcd.start(command.iter().copied());
            etcd.queue_has("signal", 2).await;
            waiter.signal(signal);
            let end = waiter.end().await.with(128 + signal as i32);
            assert_eq!(end.stdout, "", "{signal}");
            assert_eq!(etcd.queue("signal").await.len(), 1);
            assert_eq!(etcd.leases().await.len(), 1);
        }
    }
    holder.end().await.with(0);
    etcd.nothing_is_left("signal").await;
}

/// The other program, which begins its release first and gets no signal, waits for an answer for a while.
async fn a_signal_ends_a_release_that_gets_no_answer(etcd: &Etcd) {
    let deaf = ["sh", "-c", "trap '' TERM; echo held; cat"];
    let mut programs = Vec::new();
    for name in ["hurried", "patient"] {
        let mut program = etcd.start(["run", name, "--"].into_iter().chain(deaf));
        assert_eq!(program.line().await, "held");
        programs.push(program);
    }
    let (patient, hurried) = (programs.remove(1), programs.remove(0));
    let pid = Pid::from_raw(hurried.pid());
    etcd.signal(Signal::SIGSTOP);
    let patient = tokio::spawn(patient.end());
    sleep(Duration::from_millis(500)).await;
    // Until the command has ended, it gets the signals, and doesn't listen.
    let signals = async {
        while kill(pid, Signal::SIGTERM).is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = hurried.end() => end.with(0),
        end = patient => panic!("the signal ended nothing: {end:?}"),
        () = signals => unreachable!(),
    };
}

/// As with `nohup`: what we were started to ignore is ignored by both.
#[tokio::test]
async fn an_ignored_signal_stays_ignored() {
    for signal in SIGNALS {
        let mut command = tokio::process::Command::new("env");
        let name = signal.as_str();
        command.arg(format!("--ignore-signal={name}"));
        command.arg(env!("CARGO_BIN_EXE_etcd-lock"));
        command.args(["--embedded", "run", "signal", "sh", "-c"]);
        command.arg(format!(
            "echo ready; read line; kill -{} $$; cat",
            &name[3..]
        ));
        let mut program = Program::start(command);
        assert_eq!(program.line().await, "ready");
        program.signal(signal);
        program.say("go on\nstill here\n").await;
        assert_eq!(
            program.end().await.with(0).stdout,
            "still here\n",
            "{signal}"
        );
    }
}
