//! Watches: what happens to keys is told, in order and completely.

use etcd_lock_core::kv::{DeleteRequest, KeyValue, PutRequest, TxnRequest};
use etcd_lock_core::watch::{Event, EventKind, WatchBody, WatchCreate, WatchRequest};

use crate::store::{self, delete, put};
use crate::{TestContext, Watcher};

/// First that it is on, then what happens.
pub async fn watch_is_on_and_then_tells_events(test: &TestContext) {
    let client = test.client().await;
    let before = put(&client, "w", "0").await;
    let mut watcher = Watcher::open(&client);
    assert_eq!(watcher.create(WatchCreate::key(7, "w")).await, before);

    let first = put(&client, "w", "1").await;
    let second = delete(&client, "w").await;

    let event = watcher.event().await;
    assert_eq!(
        (event.kind, &event.kv.value[..]),
        (EventKind::Put, &b"1"[..])
    );
    assert_eq!(
        (event.kv.create_revision, event.kv.mod_revision),
        (before, first)
    );
    assert_eq!((event.kv.version, event.prev_kv), (2, None));

    let mut gone = KeyValue::new("w", "");
    gone.mod_revision = second;
    assert_eq!(
        watcher.event().await,
        Event::new(EventKind::Delete, gone, None)
    );
}

/// A watch of one key tells nothing of the others.
pub async fn watch_of_a_key_is_of_that_key(test: &TestContext) {
    let client = test.client().await;
    let mut watcher = Watcher::on(&client, WatchCreate::key(1, "w")).await;
    for key in ["v", "w/", "w0", "w"] {
        put(&client, key, "").await;
    }
    assert_eq!(watcher.event().await.kv.key, "w");
}

/// A watch of a prefix tells of all keys below it, and of no others.
pub async fn watch_of_a_prefix_is_of_all_below(test: &TestContext) {
    let client = test.client().await;
    let mut watcher = Watcher::on(&client, WatchCreate::prefix(1, "w/")).await;
    for key in ["w", "w/b", "w0", "w/a", "w/"] {
        put(&client, key, "").await;
    }
    for expected in ["w/b", "w/a", "w/"] {
        assert_eq!(watcher.event().await.kv.key, expected);
    }
}

/// The key as it was before is told where that is asked for.
pub async fn watch_tells_previous_values(test: &TestContext) {
    let client = test.client().await;
    put(&client, "w", "old").await;
    let mut watcher = Watcher::on(&client, WatchCreate::key(1, "w").with_prev_kv()).await;
    put(&client, "w", "new").await;
    delete(&client, "w").await;
    put(&client, "w", "again").await;

    assert_eq!(watcher.event().await.prev_kv.unwrap().value, "old");
    assert_eq!(watcher.event().await.prev_kv.unwrap().value, "new");
    assert_eq!(watcher.event().await.prev_kv, None);
}

/// Puts or deletes can be left out.
pub async fn watch_leaves_out_what_is_not_wanted(test: &TestContext) {
    let client = test.client().await;
    let mut deletes = Watcher::on(&client, WatchCreate::key(1, "w").without_puts()).await;
    let mut puts = Watcher::on(&client, WatchCreate::key(1, "w").without_deletes()).await;
    put(&client, "w", "1").await;
    delete(&client, "w").await;
    put(&client, "w", "2").await;
    delete(&client, "w").await;

    for _ in 0..2 {
        assert_eq!(deletes.event().await.kind, EventKind::Delete);
        assert_eq!(puts.event().await.kind, EventKind::Put);
    }
}

/// Watches that share a stream are told apart by the ids that we gave them.
pub async fn two_watches_share_a_stream(test: &TestContext) {
    let client = test.client().await;
    let mut watcher = Watcher::open(&client);
    watcher.create(WatchCreate::key(10, "a")).await;
    watcher.create(WatchCreate::prefix(20, "b/")).await;

    put(&client, "b/1", "").await;
    put(&client, "a", "").await;

    for (id, key) in [(20, "b/1"), (10, "a")] {
        let (watch, events) = watcher.events().await;
        assert_eq!((watch, &events[0].kv.key[..]), (id, key.as_bytes()));
    }
}

/// A watch that we cancel says so and falls silent; the others on its stream go on.
pub async fn cancelled_watch_falls_silent(test: &TestContext) {
    let client = test.client().await;
    let mut watcher = Watcher::open(&client);
    watcher.create(WatchCreate::key(1, "w")).await;
    watcher.create(WatchCreate::key(2, "w")).await;

    watcher.send(WatchRequest::Cancel(1));
    let reply = watcher.next().await;
    assert_eq!(reply.id, 1);
    assert!(
        matches!(reply.body, WatchBody::Canceled { .. }),
        "{reply:?}"
    );

    put(&client, "w", "1").await;
    put(&client, "w", "2").await;
    for _ in 0..2 {
        assert_eq!(watcher.events().await.0, 2);
    }
}

/// An id that is in use on the stream is refused, and the watch that has it goes on.
pub async fn id_in_use_is_refused(test: &TestContext) {
    let client = test.client().await;
    let mut watcher = Watcher::on(&client, WatchCreate::key(1, "w")).await;

    watcher.send(WatchRequest::Create(WatchCreate::key(1, "v")));
    let reply = watcher.next().await;
    let WatchBody::Canceled { reason, .. } = &reply.body else {
        panic!("not refused: {reply:?}");
    };
    assert!(reason.contains("duplicate watch ID"), "{reason}");

    put(&client, "w", "1").await;
    assert_eq!(watcher.event().await.kv.key, "w");
}

/// A watch from a past revision tells first what has happened since.
pub async fn watch_from_the_past_catches_up(test: &TestContext) {
    let client = test.client().await;
    put(&client, "w", "0").await;
    let first = put(&client, "w", "1").await;
    delete(&client, "w").await;
    let mut watcher = Watcher::open(&client);
    let since = WatchCreate::key(1, "w").from_revision(first);
    watcher.create(since).await;
    put(&client, "w", "2").await;

    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(watcher.events().await.1);
    }
    let revisions: Vec<_> = seen.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(revisions, [first, first.next(), first.next().next()]);
    assert_eq!(seen[1].kind, EventKind::Delete);
}

/// A watch from a revision to come tells nothing before it.
pub async fn watch_from_the_future_waits_for_it(test: &TestContext) {
    let client = test.client().await;
    let now = put(&client, "w", "0").await;
    let later = now.next().next();
    let mut watcher = Watcher::on(&client, WatchCreate::key(1, "w").from_revision(later)).await;
    put(&client, "w", "1").await;
    put(&client, "w", "2").await;
    assert_eq!(watcher.event().await.kv.mod_revision, later);
}

/// The changes of one transaction are told together.
pub async fn events_of_one_revision_come_together(test: &TestContext) {
    let client = test.client().await;
    put(&client, "w/1", "").await;
    let mut watcher = Watcher::on(&client, WatchCreate::prefix(1, "w/")).await;
    let request = TxnRequest::new()
        .and_then(DeleteRequest::key("w/1"))
        .and_then(PutRequest::new("w/2", ""))
        .and_then(PutRequest::new("w/3", ""));
    store::txn(&client, request).await;

    let (_, events) = watcher.events().await;
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.kind, &event.kv.key[..]))
        .collect();
    assert_eq!(
        told,
        [
            (EventKind::Delete, &b"w/1"[..]),
            (EventKind::Put, b"w/2"),
            (EventKind::Put, b"w/3"),
        ]
    );
}

/// The end of a lease is told as the deletes that it makes, all at one revision.
pub async fn revoked_lease_is_told_as_deletes(test: &TestContext) {
    let contender = test.contender().await;
    for key in ["w/1", "w/2"] {
        store::run(
            contender.client(),
            PutRequest::new(key, "").with_lease(contender.lease()),
        )
        .await;
    }
    let mut watcher = Watcher::on(contender.client(), WatchCreate::prefix(1, "w/")).await;

    contender.revoke().await;

    let (_, events) = watcher.events().await;
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.iter().all(|event| event.kind == EventKind::Delete));
    assert_eq!(events[0].kv.mod_revision, events[1].kv.mod_revision);
}

/// A lease that expires is told, too.
pub async fn expired_lease_is_told_as_a_delete(test: &TestContext) {
    let contender = test.short_lived_contender().await;
    let put = PutRequest::new("w", "last words").with_lease(contender.lease());
    store::run(contender.client(), put).await;
    let mut watcher =
        Watcher::on(contender.client(), WatchCreate::key(1, "w").with_prev_kv()).await;

    let event = watcher.event().await;

    assert_eq!(event.kind, EventKind::Delete);
    assert_eq!(event.prev_kv.unwrap().value, "last words");
}

/// Progress is told when asked for: up to which revision nothing was missed.
pub async fn progress_is_told_when_asked_for(test: &TestContext) {
    let client = test.client().await;
    let mut watcher = Watcher::on(&client, WatchCreate::key(1, "w")).await;
    let elsewhere = put(&client, "elsewhere", "").await;

    watcher.send(WatchRequest::Progress);

    let reply = watcher.next().await;
    assert_eq!(reply.body, WatchBody::Events(vec![]));
    assert_eq!(reply.header.revision, elsewhere);
}

/// Closing one stream leaves another alone.
pub async fn stream_outlives_another_of_its_client(test: &TestContext) {
    let client = test.client().await;
    let mut first = Watcher::on(&client, WatchCreate::key(1, "w")).await;
    let second = Watcher::on(&client, WatchCreate::key(1, "w")).await;
    drop(second);
    put(&client, "w", "1").await;
    assert_eq!(first.event().await.kv.value, "1");
}
