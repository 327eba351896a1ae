//! `etcd-lock run` is as good as the command itself: its status, its standard streams, its environment.

use std::collections::BTreeMap;

use crate::etcd::Etcd;
use crate::program::Program;

crate::tests_on!([embedded served] {
    the_commands_status_is_ours
    everything_after_the_command_is_the_commands
    standard_input_passes_through
    a_nested_run_has_the_variables_of_its_own_lock
});

async fn the_commands_status_is_ours(etcd: &Etcd) {
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let end = etcd.end_of(["run", "status", "sh", "-c", script]).await;
        assert_eq!(end.with(status).stderr, "", "{script}");
    }
}

async fn everything_after_the_command_is_the_commands(etcd: &Etcd) {
    let args = ["run", "args", "echo", "--ttl", "-q", "--", "--help"];
    let end = etcd.end_of(args).await.with(0);
    assert_eq!(end.stdout, "--ttl -q -- --help\n");
}

async fn standard_input_passes_through(etcd: &Etcd) {
    let mut program = etcd.start(["run", "stdin", "--", "cat"]);
    program.say("hi\nthere\n").await;
    let end = program.end().await.with(0);
    assert_eq!(end.stdout, "hi\nthere\n");
}

async fn a_nested_run_has_the_variables_of_its_own_lock(etcd: &Etcd) {
    let inner = etcd.command(["run", "inner", "--", "env"]);
    let mut outer = etcd.command(["run", "outer", "--"]);
    outer.arg(inner.as_std().get_program());
    outer.args(inner.as_std().get_args());
    let end = Program::start(outer).end().await.with(0);
    let variables = variables(end.stdout.lines());
    assert_eq!(variables["NAME"], "inner");
    assert!(variables["KEY"].starts_with("inner/"), "{variables:?}");
}

#[tokio::test]
async fn the_five_variables_say_what_the_store_has() {
    for etcd in [Etcd::served().await, Etcd::real().await] {
        let mut command = etcd.command(["run", "what is held", "--", "sh", "-c", "env; echo; cat"]);
        for name in ["KEY", "LEASE", "NAME", "REV", "TOKEN"] {
            command.env(format!("ETCD_LOCK_{name}"), "of an outer lock");
        }
        let mut program = Program::start(command);
        let mut lines = Vec::new();
        while let line = program.line().await
            && !line.is_empty()
        {
            lines.push(line);
        }
        let variables = variables(lines.iter().map(String::as_str));
        let names: Vec<_> = variables.keys().copied().collect();
        assert_eq!(names, ["KEY", "LEASE", "NAME", "REV", "TOKEN"]);

        let queue = etcd.queue("what is held").await;
        assert_eq!(variables["NAME"], "what is held");
        assert_eq!(variables["KEY"].as_bytes(), queue[0].key);
        assert_eq!(variables["LEASE"], etcd.leases().await[0].to_string());
        assert_eq!(variables["TOKEN"], queue[0].create_revision.to_string());
        // Nobody else wrote anything: the reply's revision is that of the entry.
        assert_eq!(variables["REV"], variables["TOKEN"]);

        program.end().await.with(0);
        etcd.nothing_is_left("what is held").await;
    }
}

/// The program and its argument vector are as they were given, not as they were found.
#[tokio::test]
async fn the_command_sees_the_name_that_it_was_called_by() {
    let etcd = Etcd::embedded().await;
    let end = etcd.end_of(["run", "name", "sh", "-c", "echo $0"]).await;
    assert_eq!(end.with(0).stdout, "sh\n");
}

/// Those with our prefix, without it.
fn variables<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, &'a str> {
    lines
        .filter_map(|line| line.strip_prefix("ETCD_LOCK_")?.split_once('='))
        .collect()
}
