//! Each endpoint asked by itself, and whether all belong together.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_lock::core::{CallOptions, ResponseHeader};
use etcd_lock::grpc::{GrpcTransport, MemberStatus};
use etcd_lock::kv::RangeRequest;
use etcd_lock::memory::MemoryEtcd;
use etcd_lock::{
    ConnectOptions, Error, ErrorKind, LockName, Result, Timeout, Transport, in_memory,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::check::{Check, Report};
use crate::exit::USAGE;

/// How many reads are timed.
const READS: usize = 7;

/// Reads that take longer than this are a risk to locks with a short time to live.
const SLOW: Duration = Duration::from_millis(500);

/// One endpoint, without another to fall back on.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) transport: Arc<dyn Transport>,
    /// The same, where it is over gRPC.
    grpc: Option<GrpcTransport>,
}

impl Endpoint {
    pub(super) fn embedded() -> Self {
        Self {
            name: "embedded".to_owned(),
            transport: in_memory(MemoryEtcd::new()).transport().clone(),
            grpc: None,
        }
    }

    /// The endpoints of a connection. One that can't be used is reported.
    pub(super) fn all(options: &ConnectOptions, report: &mut Report) -> Vec<Self> {
        let mut all = Vec::new();
        for name in options.endpoints() {
            let alone = options.clone().with_endpoints([name]).with_max_attempts(1);
            match GrpcTransport::connect(alone) {
                Ok(transport) => all.push(Self {
                    name: name.clone(),
                    transport: Arc::new(transport.clone()),
                    grpc: Some(transport),
                }),
                Err(error) => report.add(Check::error(name, "", &error, "correct --endpoints")),
            }
        }
        all
    }
}

/// What became of asking an endpoint.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) endpoint: Endpoint,
    pub(super) answer: Result<Answer>,
}

/// An endpoint's answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Nothing where this user may not read.
    header: Option<ResponseHeader>,
    /// etcd's refusal, where this user may not read.
    pub(super) refusal: Option<Error>,
    /// How long the first answer took, with the connection and the login.
    first: Duration,
    /// How long each read took after that, the shortest first.
    reads: Vec<Duration>,
    /// What the member says of itself. Some users may not ask.
    status: Option<MemberStatus>,
}

/// Asks all endpoints at once, so that a silent one costs its own time alone. They are returned in their order.
pub(super) async fn probe(
    endpoints: Vec<Endpoint>,
    name: Option<&LockName>,
    limit: Duration,
) -> Vec<Probe> {
    let key = name.map_or_else(|| "etcd-lock".into(), LockName::queue_prefix);
    let mut tasks = JoinSet::new();
    for (number, endpoint) in endpoints.into_iter().enumerate() {
        let request = RangeRequest::key(key.clone());
        tasks.spawn(async move {
            let asked = timeout(limit, ask(&endpoint, request, limit));
            let answer = asked.await.unwrap_or_else(|_| Err(silent(limit)));
            (number, Probe { endpoint, answer })
        });
    }
    let mut probes = tasks.join_all().await;
    probes.sort_by_key(|(number, _)| *number);
    probes.into_iter().map(|(_, probe)| probe).collect()
}

fn silent(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer within {limit:?}"))
}

/// Reads a key some times, whether it exists or not, and asks for the member's status.
async fn ask(endpoint: &Endpoint, request: RangeRequest, limit: Duration) -> Result<Answer> {
    let etcd = &endpoint.transport;
    let options = CallOptions::new(Timeout::Infinity);
    let began = Instant::now();
    let reply = etcd.range(request.clone(), options).await;
    let first = began.elapsed();
    let (header, refusal) = match reply {
        Ok(reply) => (Some(reply.header), None),
        Err(error) if is_of_etcd(&error) => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let mut reads = Vec::with_capacity(READS);
    for _ in 0..READS {
        let began = Instant::now();
        match etcd.range(request.clone(), options).await {
            Err(error) if !is_of_etcd(&error) => return Err(error),
            _ => reads.push(began.elapsed()),
        }
    }
    reads.sort_unstable();
    let status = match &endpoint.grpc {
        Some(grpc) => grpc.member_status(limit).await.pop(),
        None => None,
    };
    Ok(Answer {
        header,
        refusal,
        first,
        reads,
        status: status.and_then(|(_, status)| status.ok()),
    })
}

/// Whether an etcd refuses this user, and not a server or a handshake on the way.
fn is_of_etcd(error: &Error) -> bool {
    let refuses = [ErrorKind::PermissionDenied, ErrorKind::Unauthenticated];
    refuses.contains(&error.kind()) && error.server_text().is_some()
}

/// Adds a line for each endpoint, and one for the cluster.
pub(super) fn report(probes: &[Probe], report: &mut Report) {
    for probe in probes {
        report.add(line(probe));
    }
    let headers: Vec<_> = probes
        .iter()
        .filter_map(|probe| {
            let header = probe.answer.as_ref().ok()?.header?;
            Some((probe.endpoint.name.as_str(), header))
        })
        .collect();
    if headers.len() > 1 {
        report.add(cluster(&headers));
    }
}

fn line(probe: &Probe) -> Check {
    const SLOW_ADVICE: &str = "give locks a --ttl of many times that, or find what is slow";
    let subject = format!("endpoint {}", probe.endpoint.name);
    let answer = match &probe.answer {
        Ok(answer) => answer,
        Err(error) => return Check::error(&subject, "", error, advice(error)),
    };
    let errors = answer.status.iter().flat_map(|status| &status.errors);
    let errors: Vec<_> = errors.map(String::as_str).collect();
    let check = if !errors.is_empty() {
        let text = format!("{answer}; it says: {}", errors.join(", "));
        Check::warn(
            &subject,
            text,
            "see etcdctl alarm list, and the log of the etcd",
        )
    } else if answer.worst() > SLOW {
        Check::warn(&subject, answer.to_string(), SLOW_ADVICE)
    } else {
        Check::ok(subject, answer.to_string())
    };
    check.with_details(answer.json())
}

impl Answer {
    fn median(&self) -> Duration {
        self.reads[READS / 2]
    }

    fn worst(&self) -> Duration {
        self.reads[READS - 1]
    }

    fn json(&self) -> Value {
        let header = self.header.as_ref();
        json!({
            "member_id": header.map(|header| format!("{:x}", header.member_id)),
            "cluster_id": header.map(|header| format!("{:x}", header.cluster_id)),
            "revision": header.map(|header| header.revision.get()),
            "raft_term": header.map(|header| header.raft_term),
            "version": self.status.as_ref().map(|status| &status.version),
            "leader_id": self.status.as_ref().and_then(|status| status.leader).map(|id| format!("{id:x}")),
            "database_bytes": self.status.as_ref().map(|status| status.database_bytes),
            "first_ms": millis(self.first),
            "median_ms": millis(self.median()),
            "worst_ms": millis(self.worst()),
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.header {
            Some(header) => write!(
                f,
                "member {:x} of cluster {:x} answers, revision {}, raft term {}",
                header.member_id, header.cluster_id, header.revision, header.raft_term
            )?,
            None => f.write_str("it answers, and this user may not read")?,
        }
        if let Some(status) = &self.status {
            let mebibytes = status.database_bytes as f64 / f64::from(1 << 20);
            write!(
                f,
                "; etcd {}, a database of {mebibytes:.1} MiB",
                status.version
            )?;
            match status.leader {
                Some(leader) => write!(f, ", led by {leader:x}")?,
                None => f.write_str(", without a leader")?,
            }
        }
        write!(
            f,
            "; a read takes {:.2} ms (worst of {READS}: {:.2} ms), the first {:.2} ms",
            millis(self.median()),
            millis(self.worst()),
            millis(self.first)
        )
    }
}

fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Unavailable => {
            "see whether the etcd runs there and has a leader, and nothing is in between; or correct --endpoints"
        }
        ErrorKind::Timeout => "see whether the member hangs, or give it more --command-timeout",
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => "correct --cert and --key",
        _ => "name an etcd's address for clients in --endpoints",
    }
}

fn cluster(headers: &[(&str, ResponseHeader)]) -> Check {
    let clusters: BTreeSet<_> = headers
        .iter()
        .map(|(_, header)| header.cluster_id)
        .collect();
    let members: BTreeSet<_> = headers.iter().map(|(_, header)| header.member_id).collect();
    if let [cluster] = *Vec::from_iter(clusters) {
        let (endpoints, members) = (headers.len(), members.len());
        return Check::ok(
            "cluster",
            format!("{endpoints} endpoints are {members} members of cluster {cluster:x}"),
        );
    }
    let each = headers
        .iter()
        .map(|(name, header)| format!("{name} of {:x}", header.cluster_id));
    let text = format!(
        "the endpoints are of several clusters, and a lock on one is none on the other: {}",
        Vec::from_iter(each).join(", ")
    );
    Check::fail(
        "cluster",
        USAGE,
        text,
        "name members of one cluster in --endpoints",
    )
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
