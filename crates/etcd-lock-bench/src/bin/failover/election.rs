//! How long the cluster itself answers no write: no client can recover faster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_lock_proto::etcdserverpb as pb;
use pb::kv_client::KvClient;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};
use tonic::transport::Endpoint;

/// How often a new write is tried. Each is on its own: one that etcd has lost holds up none of those after it.
const EVERY: Duration = Duration::from_millis(20);

/// Writes that are tried on the members that survive, without retries and waiting for nothing.
#[derive(Debug)]
pub(crate) struct Election {
    writes: Writes,
    probes: Vec<JoinHandle<()>>,
}

/// When each successful write was sent and answered.
type Writes = Arc<Mutex<Vec<(Instant, Instant)>>>;

impl Election {
    /// Begins to write to members, each by a connection of its own.
    pub(crate) fn watch(survivors: &[String]) -> Self {
        let writes = Writes::default();
        let probes = survivors
            .iter()
            .map(|endpoint| tokio::spawn(probe(endpoint.clone(), writes.clone())))
            .collect();
        Self { writes, probes }
    }

    /// How long after the fault a write succeeded that was sent after it, if one has.
    pub(crate) fn over_after(&self, fault: Instant) -> Option<Duration> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let since = writes.iter().filter(|(sent, _)| *sent > fault);
        since.map(|(_, answered)| *answered - fault).min()
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.probes.iter().for_each(JoinHandle::abort);
    }
}

async fn probe(endpoint: String, writes: Writes) {
    let endpoint = Endpoint::from_shared(endpoint).unwrap();
    let client = KvClient::new(endpoint.connect().await.unwrap());
    let mut ticks = interval(EVERY);
    loop {
        ticks.tick().await;
        let (mut client, writes) = (client.clone(), writes.clone());
        tokio::spawn(async move {
            let sent = Instant::now();
            let request = pb::PutRequest {
                key: "failover-probe".into(),
                ..pb::PutRequest::default()
            };
            if client.put(request).await.is_ok() {
                let mut writes = writes.lock().unwrap_or_else(PoisonError::into_inner);
                writes.push((sent, Instant::now()));
            }
        });
    }
}
