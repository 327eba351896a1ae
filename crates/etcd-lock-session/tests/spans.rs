//! The spans and events of tracing, and their names.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use etcd_lock_core::LeaseId;
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::FmtSpan;

const TTL: Duration = Duration::from_secs(9);

#[tokio::test(start_paused = true)]
async fn spans_have_the_names_and_fields_of_the_docs() {
    let (mut lease, mut token, mut key) = (None, None, None);
    let said = said_in(LevelFilter::DEBUG, async {
        let client = Queue::new(MemoryEtcd::new()).into_client();
        let session = Session::open(&client, TTL).await.unwrap();
        let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
        lease = Some(session.lease());
        token = Some(guard.token().to_string());
        key = Some(guard.key().to_string());
        guard.unlock().await.unwrap();
    })
    .await;
    let (lease, token, key) = (lease.unwrap(), token.unwrap(), key.unwrap());
    for span in [
        format!("lock.acquire{{lock.name=a lease.id={lease} lock.token={token}}}"),
        format!("lock.release{{lock.key={key} lock.token={token}}}"),
    ] {
        assert!(
            said.lines()
                .any(|line| line.contains(&span) && line.contains("close")),
            "{span} in {said}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_at_info_but_the_loss_of_a_session() {
    let mut lost = None;
    let said = said_in(LevelFilter::INFO, async {
        let etcd = MemoryEtcd::new();
        let client = Queue::new(etcd.clone()).into_client();
        let session = Session::open(&client, TTL).await.unwrap();
        let mutex = Mutex::new(&session, "a").unwrap();
        mutex.lock().await.unwrap().unlock().await.unwrap();
        session.close().await.unwrap();

        let session = Session::open(&client, TTL).await.unwrap();
        lost = Some(session.lease());
        etcd.expire_lease(session.lease());
        session.lost().await;
    })
    .await;
    let lost: LeaseId = lost.unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("WARN") && said.contains(&lost.to_string()),
        "{said}"
    );
}

/// The events while something goes on, the ends of spans included.
async fn said_in(level: LevelFilter, scene: impl Future<Output = ()>) -> String {
    let written = Arc::new(StdMutex::new(Vec::new()));
    let writer = Written(written.clone());
    let subscriber = fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    // For this thread, where the runtime is, tasks in the background included.
    let everything = tracing::subscriber::set_default(subscriber);
    scene.await;
    drop(everything);
    String::from_utf8(written.lock().unwrap().clone()).unwrap()
}

#[derive(Clone)]
struct Written(Arc<StdMutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
