//! Facts of the `Lock` service.

use etcd_lock_memory::model::Version;
use etcd_lock_proto::v3lockpb;
use tonic::Code;
use v3lockpb::lock_client::LockClient;

use super::etcd::{Answer, Etcd, eventually, in_time, outcome, refusal};

const NO_LEASE: &str = "etcdserver: requested lease not found";
const EXPIRED: &str = "mutex: session is expired";

pub(crate) async fn a_name_is_any_bytes_or_none(etcd: &Etcd) {
    for id in [0x309, -5] {
        etcd.grant(60, id).await.unwrap();
    }
    let key = async |name: &[u8], lease| etcd.lock(name, lease).await.unwrap().key;
    assert_eq!(key(b"", 0x309).await, "/309");
    assert_eq!(key(b"\0\xff", 0x309).await, &b"\0\xff/309"[..]);
    assert_eq!(key(b"neg", -5).await, "neg/-5");
}

pub(crate) async fn a_lock_without_a_lease_hides_one_that_stays(etcd: &Etcd) {
    let held = etcd.lock(b"hidden", 0).await.unwrap();
    let hidden = etcd.get(&held.key).await.unwrap().lease;
    assert_eq!(held.key, format!("hidden/{hidden:x}"));
    assert_eq!(etcd.time_to_live(hidden).await.granted_ttl, 60);

    let given_up = etcd.waiting("hidden", 0).await;
    let waiter = etcd.queue("hidden").await.remove(1).lease;
    given_up.abort();
    etcd.queue_has("hidden", 1).await;
    etcd.unlock(&held.key).await.unwrap();

    assert!(etcd.get(&held.key).await.is_none());
    for lease in [hidden, waiter] {
        assert_eq!(etcd.time_to_live(lease).await.granted_ttl, 60);
    }
}

pub(crate) async fn the_same_lease_again_is_granted_again(etcd: &Etcd) {
    let lease = etcd.lease().await;
    let first = etcd.lock(b"again", lease).await.unwrap();
    let later = etcd.set("elsewhere", "").await;

    let second = etcd.lock(b"again", lease).await.unwrap();

    assert_eq!(second.key, first.key);
    assert_eq!(second.header.unwrap().revision, later);
    assert_eq!(etcd.queue("again").await.len(), 1);
}

/// Whether the second call is in the queue can't be seen, so it is tried until it was.
pub(crate) async fn giving_up_deletes_the_key_of_another_wait_with_the_lease(etcd: &Etcd) {
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        let (holder, waiter) = (etcd.lease().await, etcd.lease().await);
        let held = etcd.lock(b"twice", holder).await.unwrap();
        let first = etcd.waiting("twice", waiter).await;
        let second = etcd.begin_lock("twice", waiter);
        for _ in 0..20 {
            etcd.revision().await;
        }
        first.abort();
        eventually(async || first.is_finished()).await;
        for _ in 0..20 {
            etcd.revision().await;
        }
        let has_entered_late = etcd.queue("twice").await.len() == 2;
        etcd.unlock(&held.key).await.unwrap();
        let answer = outcome(second).await;
        if has_entered_late || !etcd.queue("twice").await.is_empty() {
            etcd.revoke(waiter).await.unwrap();
            continue;
        }
        return is_told_of_a_key_that_is_gone(etcd, answer);
    }
    panic!("the second call was too late {ROUNDS} times");
}

pub(crate) async fn an_unknown_lease_is_refused(etcd: &Etcd) {
    for lease in [0xdead, -7] {
        let refused = etcd.lock(b"unknown", lease).await;
        assert_eq!(refused, refusal(Code::Unknown, NO_LEASE));
    }
    let ended = etcd.lease().await;
    etcd.revoke(ended).await.unwrap();
    let refused = etcd.lock(b"unknown", ended).await;
    assert_eq!(refused, refusal(Code::Unknown, NO_LEASE));
    assert_eq!(etcd.queue("unknown").await, []);
}

/// With the lease, or by somebody else's hand: nothing is told before the lock is free.
pub(crate) async fn a_waiter_learns_of_its_key_when_its_turn_comes(etcd: &Etcd) {
    for by_hand in [false, true] {
        let (holder, waiter) = (etcd.lease().await, etcd.lease().await);
        let held = etcd.lock(b"turn", holder).await.unwrap();
        let waiting = etcd.waiting("turn", waiter).await;
        if by_hand {
            etcd.unlock(&etcd.queue("turn").await[1].key).await.unwrap();
        } else {
            etcd.revoke(waiter).await.unwrap();
        }
        etcd.queue_has("turn", 1).await;
        for _ in 0..20 {
            etcd.revision().await;
        }
        assert!(!waiting.is_finished());

        etcd.unlock(&held.key).await.unwrap();

        is_told_of_a_key_that_is_gone(etcd, outcome(waiting).await);
    }
}

/// By a deadline as by hanging up.
pub(crate) async fn who_gives_up_loses_the_key_at_once(etcd: &Etcd) {
    let (holder, waiter) = (etcd.lease().await, etcd.lease().await);
    etcd.lock(b"left", holder).await.unwrap();
    let waiting = etcd.waiting("left", waiter).await;
    waiting.abort();
    etcd.queue_has("left", 1).await;

    let mut late = tonic::Request::new(v3lockpb::LockRequest {
        name: "left".into(),
        lease: waiter,
    });
    late.set_timeout(std::time::Duration::from_millis(300));
    let mut client = LockClient::new(etcd.channel.clone());
    in_time(client.lock(late)).await.unwrap_err();
    etcd.queue_has("left", 1).await;
    assert!(etcd.time_to_live(waiter).await.ttl >= 0);
}

/// The name is in the request to enter seven times, so it is too large long before a message is.
pub(crate) async fn a_name_that_is_too_large_is_refused(etcd: &Etcd) {
    let lease = etcd.lease().await;
    let name = |bytes: usize| vec![b'n'; bytes];
    etcd.lock(&name(200_000), lease).await.unwrap();
    let refused = refusal(Code::Unknown, "etcdserver: request is too large");
    for bytes in [300_000, 1 << 20] {
        assert_eq!(etcd.lock(&name(bytes), lease).await, refused, "{bytes}");
    }
    let (code, text) = etcd.lock(&name(2 << 20), lease).await.unwrap_err();
    assert_eq!(code, Code::ResourceExhausted);
    assert!(
        text.starts_with("grpc: received message larger than max ("),
        "{text}"
    );
    assert!(text.ends_with(" vs. 2097152)"), "{text}");
}

pub(crate) async fn unlock_deletes_any_key(etcd: &Etcd) {
    etcd.set("mine", "no lock at all").await;
    let before = etcd.revision().await;
    let reply = etcd.unlock(b"mine").await.unwrap();
    assert_eq!(reply.header.unwrap().revision, before + 1);
    assert!(etcd.get(b"mine").await.is_none());
}

pub(crate) async fn unlock_of_no_key_is_fine_and_of_an_empty_one_is_not(etcd: &Etcd) {
    let before = etcd.revision().await;
    let reply = etcd.unlock(b"never was").await.unwrap();
    assert_eq!(reply.header.unwrap().revision, before);
    let refused = refusal(Code::Unknown, "etcdserver: key is not provided");
    assert_eq!(etcd.unlock(b"").await, refused);
}

/// 3.4 doesn't look whether the key is still there.
fn is_told_of_a_key_that_is_gone(etcd: &Etcd, answer: Answer<v3lockpb::LockResponse>) {
    match etcd.version {
        Version::V3_4 => assert!(answer.is_ok(), "{answer:?}"),
        _ => assert_eq!(answer, refusal(Code::Unknown, EXPIRED)),
    }
}
