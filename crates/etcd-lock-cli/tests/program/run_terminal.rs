//! `etcd-lock run` at a terminal: keys, job control, and the notice of a wait.

use tokio::process::Command;

use crate::etcd::Etcd;
use crate::program::Program;
use crate::terminal::Terminal;

/// A command that counts interrupts. It doesn't sleep before the first: a shell that is busy with something else counts two
/// as one.
const COUNTING: &str = "n=0; trap 'n=$((n+1))' INT; echo ready >&2; \
    while [ $n = 0 ]; do :; done; sleep 0.5; echo counted $n; exit 3";

#[tokio::test]
async fn a_wait_at_a_terminal_shows_holder_and_position_in_one_line() {
    let etcd = Etcd::served().await;
    let holder = etcd.hold("wait", &["--note", "nightly"]).await;
    let second = etcd.start(["run", "wait", "true"]);
    etcd.queue_has("wait", 2).await;
    let mut terminal = Terminal::start(&etcd.command(["run", "wait", "echo", "ran"]));
    let shown = terminal.shows("2 are before us").await;
    assert!(shown.contains("waiting for wait: held by "), "{shown}");
    assert!(shown.contains("(nightly)"), "{shown}");
    holder.end().await.with(0);
    second.end().await.with(0);
    let (code, shown) = terminal.end().await;
    assert_eq!(code, Some(0));
    assert!(shown.contains("the lock is held after"), "{shown}");
    assert!(!shown.contains("waiting for"), "{shown}");
    assert!(shown.ends_with("ran"), "{shown}");
}

#[tokio::test]
async fn a_command_at_a_terminal_reads_what_is_typed() {
    let etcd = Etcd::served().await;
    let mut terminal =
        Terminal::start(&etcd.command(["run", "typed", "--", "sh", "-c", "read a; echo got $a"]));
    terminal.press("hello\n");
    terminal.shows("got hello").await;
    assert_eq!(terminal.end().await.0, Some(0));
}

#[tokio::test]
async fn an_interrupt_comes_to_the_command_once() {
    let etcd = Etcd::served().await;
    let mut terminal = Terminal::start(&etcd.command(["run", "typed", "--", "sh", "-c", COUNTING]));
    terminal.shows("ready").await;
    terminal.press("\x03");
    terminal.shows("counted 1").await;
    assert_eq!(terminal.end().await.0, Some(3));
}

#[tokio::test]
async fn an_interrupt_ends_the_command_and_all_that_it_started() {
    let etcd = Etcd::served().await;
    // A process that a shell has forked, and that is no other program yet, would miss it.
    let script = "sleep 60 | (sleep 0.5; echo ready; exec sleep 60)";
    let mut terminal = Terminal::start(&etcd.command(["run", "typed", "--", "sh", "-c", script]));
    terminal.shows("ready").await;
    terminal.press("\x03");
    // A shell says so of a process that an interrupt ended.
    assert_eq!(terminal.end().await.0, None);
    etcd.nothing_is_left("typed").await;
}

#[tokio::test]
async fn an_interrupt_ends_the_script_that_runs_the_program_as_well() {
    let etcd = Etcd::served().await;
    for shell in ["dash", "bash"] {
        let command = line(&etcd.command([
            "run",
            "typed",
            "--",
            "sh",
            "-c",
            "echo ready; exec sleep 60",
        ]));
        let mut script = Command::new(shell);
        script.args(["-c", &format!("{command}; echo went on")]);
        let mut terminal = Terminal::start(&script);
        terminal.shows("ready").await;
        terminal.press("\x03");
        let (_, shown) = terminal.end().await;
        assert!(!shown.contains("went on"), "{shell}: {shown}");
        etcd.nothing_is_left("typed").await;
    }
}

#[tokio::test]
async fn a_script_has_its_terminal_back_after_the_command() {
    let etcd = Etcd::served().await;
    let command = line(&etcd.command(["run", "typed", "true"]));
    let mut script = Command::new("sh");
    script.args(["-c", &format!("{command}; echo ready; read a; echo got $a")]);
    let mut terminal = Terminal::start(&script);
    terminal.shows("ready").await;
    terminal.press("hello\n");
    let (code, shown) = terminal.end().await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("got hello"), "{shown}");
}

#[tokio::test]
async fn a_job_that_is_stopped_goes_on_in_front() {
    let etcd = Etcd::served().await;
    let mut terminal = Terminal::shell();
    terminal.shows("ready>").await;
    let script = "echo begun; read a; echo got $a";
    let command = line(&etcd.command(["run", "typed", "--ttl", "60s", "--", "sh", "-c", script]));
    terminal.press(&format!("{command}\n"));
    terminal.shows("\nbegun").await;
    terminal.press("\x1a");
    terminal.shows("Stopped").await;
    terminal.press("echo we are $((1+1))\n");
    terminal.shows("we are 2").await;
    terminal.press("fg\n");
    terminal.press("hello\n");
    terminal.shows("got hello").await;
    terminal.press("exit\n");
    assert_eq!(terminal.end().await.0, Some(0));
    etcd.nothing_is_left("typed").await;
}

#[tokio::test]
async fn a_stopped_job_whose_terminal_hangs_up_is_ended() {
    let etcd = Etcd::served().await;
    let mut terminal = Terminal::shell();
    terminal.shows("ready>").await;
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let script = format!(
        "trap 'touch {}; exit' HUP; echo begun; read line",
        told.display()
    );
    let args = ["run", "typed", "--ttl", "60s", "--", "sh", "-c", &script];
    terminal.press(&format!("{}\n", line(&etcd.command(args))));
    terminal.shows("\nbegun").await;
    terminal.press("\x1a");
    terminal.shows("Stopped").await;
    drop(terminal);
    etcd.queue_has("typed", 0).await;
    assert!(told.exists());
}

/// It must not go on without the lock, not even for the moment until it is told.
#[tokio::test]
async fn a_job_that_was_stopped_for_longer_than_its_lease_is_ended() {
    let etcd = Etcd::served().await;
    let mut terminal = Terminal::shell();
    terminal.shows("ready>").await;
    // It starts nothing: a shell that is stopped in the middle of a `vfork` never comes to a stop.
    let script = "trap 'echo told; exit' TERM; echo begun; read line";
    let command = line(&etcd.command(["run", "typed", "--ttl", "2s", "--", "sh", "-c", script]));
    terminal.press(&format!("{command}\n"));
    terminal.shows("\nbegun").await;
    terminal.press("\x1a");
    terminal.shows("Stopped").await;
    etcd.end_of(["run", "typed", "true"]).await.with(0);
    terminal.press("fg; echo status $?\n");
    terminal.shows("told").await;
    terminal.shows("status 79").await;
    terminal.press("exit\n");
    terminal.end().await;
}

#[tokio::test]
async fn a_loss_at_a_terminal_ends_all_that_the_command_started() {
    let etcd = Etcd::served().await;
    let script = "trap '' TERM; (sleep 60 | sleep 60) & echo ready; wait";
    let mut terminal = Terminal::start(&etcd.command(["run", "lost", "--", "sh", "-c", script]));
    terminal.shows("ready").await;
    etcd.revoke_the_lease().await;
    // It ends when none of them has the terminal any more.
    let (code, shown) = terminal.end().await;
    assert_eq!(code, Some(79), "{shown}");
}

/// Another group would take the terminal away from the rest of the pipeline.
#[tokio::test]
async fn a_pipeline_keeps_the_terminal() {
    let etcd = Etcd::served().await;
    let command = line(&etcd.command(["run", "typed", "--", "echo", "page"]));
    let mut script = Command::new("bash");
    script.args([
        "-c",
        &format!("{command} | (cat; read a < /dev/tty; echo got $a)"),
    ]);
    let mut terminal = Terminal::start(&script);
    terminal.shows("page").await;
    terminal.press("hello\n");
    let (code, shown) = terminal.end().await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("got hello"), "{shown}");
}

/// A signal that comes to a pipeline's program is the command's, too, once.
#[tokio::test]
async fn an_interrupt_in_a_pipeline_comes_once() {
    let etcd = Etcd::served().await;
    let command = line(&etcd.command(["run", "typed", "--", "sh", "-c", COUNTING]));
    let mut script = Command::new("bash");
    script.args(["-c", &format!("{command} | (trap '' INT; cat)")]);
    let mut terminal = Terminal::start(&script);
    terminal.shows("ready").await;
    terminal.press("\x03");
    terminal.shows("counted 1").await;
    terminal.end().await;
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    let red = "\u{1b}[";
    let args = ["--endpoints", "127.0.0.1:1", "unlock", "no-key"];
    let plain = Program::start({
        let mut command = crate::program::etcd_lock();
        command.args(args);
        command
    });
    assert!(!plain.end().await.with(64).stderr.contains(red));
    for (wanted, colour) in [(true, vt100::Color::Idx(1)), (false, vt100::Color::Default)] {
        let mut command = crate::program::etcd_lock();
        command.args(args);
        if !wanted {
            command.env("NO_COLOR", "1");
        }
        let mut terminal = Terminal::start(&command);
        terminal.shows("etcd-lock:").await;
        let first = terminal.screen().cell(0, 0).unwrap();
        assert_eq!(first.fgcolor(), colour);
        assert_eq!(terminal.end().await.0, Some(64));
    }
}

/// The line for a shell that runs a command.
fn line(command: &Command) -> String {
    let command = command.as_std();
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    shlex::try_join(words).unwrap()
}
