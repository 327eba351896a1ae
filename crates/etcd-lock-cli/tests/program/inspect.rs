//! `etcd-lock status`, `list` and `break`: holders, waiters, and the removal of a hold.

use etcd_lock::core::CallOptions;
use etcd_lock::kv::{PutRequest, TxnRequest};
use serde_json::{Value, json};

use crate::etcd::Etcd;
use crate::program::Program;
use crate::terminal::Terminal;

crate::tests_on!(only served {
    a_list_names_each_lock_below_a_prefix
    a_view_in_a_pipe_is_a_line_for_each_change
    a_free_lock_has_no_holder
    a_status_names_holder_and_waiters_in_their_order
    a_status_names_what_is_no_entry
    a_list_has_many_pages
    a_hold_with_another_lease_is_not_broken
    a_broken_hold_can_end_all_that_its_lease_holds
    a_view_at_a_terminal_is_drawn_anew
});

crate::tests_on!([served real] {
    a_broken_hold_is_the_next_ones_at_once
});

async fn a_free_lock_has_no_holder(etcd: &Etcd) {
    let end = etcd.end_of(["status", "free"]).await.with(0);
    assert_eq!(end.stdout, "free is free\n");
    let status = json_of(etcd, &["status", "free"]).await;
    assert_eq!(
        (&status["holder"], &status["waiters"]),
        (&Value::Null, &json!([]))
    );
}

async fn a_status_names_holder_and_waiters_in_their_order(etcd: &Etcd) {
    let holder = etcd.hold("queue", &["--note", "first"]).await;
    let waiter = etcd.start(["run", "queue", "--note", "second", "true"]);
    etcd.queue_has("queue", 2).await;
    let status = json_of(etcd, &["status", "queue"]).await;
    let mut keys = etcd.queue("queue").await;
    keys.sort_by_key(|kv| kv.create_revision);
    assert_eq!(status["name"], "queue");
    assert_eq!(status["holder"]["owner"]["note"], "first");
    assert_eq!(status["waiters"][0]["owner"]["note"], "second");
    for (entry, kv) in [&status["holder"], &status["waiters"][0]]
        .into_iter()
        .zip(keys)
    {
        assert_eq!(entry["key"].as_str().unwrap().as_bytes(), kv.key);
        assert_eq!(entry["token"], kv.create_revision.get());
        let left = entry["ends_in_seconds"].as_u64().unwrap();
        assert!((1..=10).contains(&left), "{entry}");
    }
    let text = etcd.end_of(["status", "queue"]).await.with(0).stdout;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "queue is held by");
    assert!(lines[1].contains("(first), queued "), "{text}");
    assert_eq!(lines[2], "1 waits");
    assert!(lines[3].contains("(second), queued "), "{text}");
    holder.end().await.with(0);
    waiter.end().await.with(0);
}

async fn a_status_names_what_is_no_entry(etcd: &Etcd) {
    etcd.commit(PutRequest::new("queue/settings", "value"))
        .await;
    let status = json_of(etcd, &["status", "queue"]).await;
    assert_eq!(status["unrelated_keys"], json!(["queue/settings"]));
    let text = etcd.end_of(["status", "queue"]).await.with(0).stdout;
    assert!(text.contains("queue/settings is no entry"), "{text}");
}

async fn a_list_names_each_lock_below_a_prefix(etcd: &Etcd) {
    let one = etcd.hold("jobs/one", &["--note", "nightly"]).await;
    let two = etcd.hold("jobs/two", &[]).await;
    let other = etcd.hold("other", &[]).await;
    let waiter = etcd.start(["run", "jobs/one", "true"]);
    etcd.queue_has("jobs/one", 2).await;
    etcd.commit(PutRequest::new("jobs/settings", "value")).await;

    let list = json_of(etcd, &["list", "jobs/"]).await;
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|lock| &lock["name"])
        .collect();
    assert_eq!(names, ["jobs/one", "jobs/two"]);
    assert_eq!(
        (&list[0]["note"], &list[0]["waiters"]),
        (&json!("nightly"), &json!(1))
    );
    let text = etcd.end_of(["list"]).await.with(0).stdout;
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(
        text.lines().next().unwrap().ends_with("(nightly), 1 waits"),
        "{text}"
    );

    for program in [one, two, other, waiter] {
        program.end().await.with(0);
    }
}

async fn a_list_has_many_pages(etcd: &Etcd) {
    let client = etcd.client();
    let ttl = std::time::Duration::from_secs(60);
    let lease = etcd_lock::lease::grant(&client, ttl).await.unwrap().id;
    for batch in 0..21 {
        let puts = (0..120).map(|number| format!("many/{batch:02}-{number:03}/{lease}"));
        let txn = puts.fold(TxnRequest::new(), |txn, key| {
            txn.and_then(PutRequest::new(key, "").with_lease(lease))
        });
        client
            .transport()
            .txn(txn, CallOptions::default())
            .await
            .unwrap();
    }
    let list = json_of(etcd, &["list", "many/"]).await;
    assert_eq!(list.as_array().unwrap().len(), 21 * 120);
    assert_eq!(list[0]["host"], Value::Null);
}

async fn a_broken_hold_is_the_next_ones_at_once(etcd: &Etcd) {
    let holder = etcd.hold("stuck", &[]).await;
    let waiter = etcd.start(["run", "stuck", "echo", "ran"]);
    etcd.queue_has("stuck", 2).await;
    let lease = holder_of(etcd, "stuck").await;
    let broken = json_of(etcd, &["break", "stuck", "--holder", &lease]).await;
    assert_eq!(broken["removed"]["lease"], lease);
    assert_eq!(broken["on_the_same_lease"], json!([]));
    assert_eq!(waiter.end().await.with(0).stdout, "ran\n");
    holder.end_by_itself().await.with(79);
    etcd.nothing_is_left("stuck").await;
}

async fn a_hold_with_another_lease_is_not_broken(etcd: &Etcd) {
    let holder = etcd.hold("stuck", &[]).await;
    let end = etcd
        .end_of(["break", "stuck", "--holder", "1f"])
        .await
        .with(75);
    assert!(end.stderr.contains("is not held with the lease"), "{end:?}");
    assert_eq!(etcd.queue("stuck").await.len(), 1);
    holder.end().await.with(0);
}

async fn a_broken_hold_can_end_all_that_its_lease_holds(etcd: &Etcd) {
    for (option, left) in [(None, 1), (Some("--revoke"), 0)] {
        let client = etcd.client();
        let ttl = std::time::Duration::from_secs(60);
        let lease = etcd_lock::lease::grant(&client, ttl).await.unwrap().id;
        for name in ["one", "two"] {
            etcd_lock::lock_with(&client, name, lease).await.unwrap();
        }
        let lease = lease.to_string();
        let args = ["break", "one", "--holder", &lease]
            .into_iter()
            .chain(option);
        let end = etcd.end_of(args).await.with(0);
        assert!(end.stdout.contains(&format!("two/{lease}")), "{end:?}");
        assert_eq!(etcd.queue("one").await, []);
        assert_eq!(etcd.queue("two").await.len(), left);
        etcd.end_of(["unlock", &format!("two/{lease}")])
            .await
            .with(0);
        etcd.nothing_is_left("two").await;
    }
}

async fn a_view_in_a_pipe_is_a_line_for_each_change(etcd: &Etcd) {
    let mut view = etcd.start(["status", "seen", "--watch"]);
    let mut list = etcd.start(["list", "--watch"]);
    let first: Value = serde_json::from_str(&view.line().await).unwrap();
    assert_eq!(first["holder"], Value::Null);
    assert_eq!(list.line().await, "[]");
    let holder = etcd.hold("seen", &["--note", "here"]).await;
    until(&mut view, |seen| seen["holder"]["owner"]["note"] == "here").await;
    until(&mut list, |seen| seen[0]["name"] == "seen").await;
    holder.end().await.with(0);
    until(&mut view, |seen| seen["holder"] == Value::Null).await;
    until(&mut list, |seen| *seen == json!([])).await;
    for program in [view, list] {
        program.signal(nix::sys::signal::Signal::SIGINT);
        program.end().await.with(130);
    }
}

async fn a_view_at_a_terminal_is_drawn_anew(etcd: &Etcd) {
    let mut terminal = Terminal::start(&etcd.command(["status", "seen", "--watch"]));
    terminal.shows("seen is free").await;
    let holder = etcd.hold("seen", &["--note", "here"]).await;
    terminal.shows("(here)").await;
    terminal.shows_no("seen is free").await;
    holder.end().await.with(0);
    terminal.shows("seen is free").await;
    terminal.shows_no("(here)").await;
    terminal.press("\x03");
    assert_eq!(terminal.end().await.0, Some(130));
}

/// Scripts are written by that page.
#[tokio::test]
async fn the_page_of_the_program_names_each_field_of_each_output() {
    let etcd = Etcd::served().await;
    let holder = etcd.hold("page", &[]).await;
    let mut outputs = vec![
        json_of(&etcd, &["status", "page"]).await,
        json_of(&etcd, &["list"]).await,
        json_of(
            &etcd,
            &["break", "page", "--holder", &holder_of(&etcd, "page").await],
        )
        .await,
        json_of(&etcd, &["lock", "other"]).await,
    ];
    let key = outputs[3]["key"].as_str().unwrap().to_owned();
    outputs.push(json_of(&etcd, &["renew", &key]).await);
    holder.end().await.with(79);
    let page = include_str!("../../../../docs/program.md");
    for output in &outputs {
        for field in fields(output) {
            assert!(page.contains(&format!("`{field}`")), "{field} of {output}");
        }
    }
}

/// The names of all fields.
fn fields(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().flat_map(fields).collect(),
        Value::Object(map) => {
            let inner = map.values().flat_map(fields);
            inner.chain(map.keys().map(String::as_str)).collect()
        }
        _ => Vec::new(),
    }
}

/// Reads lines until one is as it has to be.
async fn until(program: &mut Program, is_right: impl Fn(&Value) -> bool) {
    while !is_right(&serde_json::from_str(&program.line().await).unwrap()) {}
}

async fn holder_of(etcd: &Etcd, name: &str) -> String {
    let status = json_of(etcd, &["status", name]).await;
    status["holder"]["lease"].as_str().unwrap().to_owned()
}

async fn json_of(etcd: &Etcd, args: &[&str]) -> Value {
    let args = args.iter().copied().chain(["-o", "json"]);
    serde_json::from_str(&etcd.end_of(args).await.with(0).stdout).unwrap()
}
