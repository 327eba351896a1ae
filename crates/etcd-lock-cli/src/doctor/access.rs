//! Whether etcd lets this user in, and what a lock needs is allowed.

use etcd_lock::core::CallOptions;
use etcd_lock::core::lease::LeaseGrantRequest;
use etcd_lock::grpc::GrpcTransport;
use etcd_lock::kv::{DeleteRequest, Op, PutRequest, RangeRequest, TxnRequest};
use etcd_lock::{ConnectOptions, Error, ErrorKind, LeaseId, LockName, Result, Transport, Ttl};

use super::Etcd;
use super::check::{Check, Report};
use super::endpoints::Probe;
use crate::settings::Settings;

/// How long the lease of the check lives where it can't be revoked.
const LEASE_SECONDS: i64 = 5;

const WRONG_LOGIN: &str =
    "correct --user and its password; an operator can set it with `etcdctl user passwd`";
const NO_LOGIN: &str =
    "give --user and --password-file, or a client certificate with the user's name";

/// Says whether the login works and is needed. Returns whether this user is in.
pub(super) async fn login(
    etcd: &Etcd<'_>,
    probe: &Probe,
    settings: &Settings,
    report: &mut Report,
) -> bool {
    let answer = probe.answer.as_ref().ok();
    let refusal = answer.and_then(|answer| answer.refusal.as_ref());
    let refused = refusal.filter(|error| error.kind() == ErrorKind::Unauthenticated);
    let check = match (user(settings), refused) {
        (Some(user), Some(error)) => {
            let text = format!("{user} is not let in: ");
            Check::error("login", &text, error, WRONG_LOGIN)
        }
        (None, Some(error)) => Check::error("login", "etcd wants a user: ", error, NO_LOGIN),
        (None, None) => Check::ok("login", "none is given, and none is needed"),
        (Some(user), None) => {
            let needed = is_needed(etcd, probe, settings).await;
            Check::ok("login", let_in(&user, needed.ok()))
        }
    };
    report.add(check);
    refused.is_none()
}

/// The user's name, without the password that may follow it.
fn user(settings: &Settings) -> Option<String> {
    let user = settings.get("user")?.text.to_string_lossy();
    user.split(':').next().map(str::to_owned)
}

fn let_in(user: &str, is_needed: Option<bool>) -> String {
    let more = match is_needed {
        Some(true) => ", and nobody is without a login",
        Some(false) => {
            ", and so is this machine without a login: authentication is off, or the client certificate names a user"
        }
        None => "",
    };
    format!("{user} is let in{more}")
}

/// Whether the same endpoint refuses a client that doesn't log in.
async fn is_needed(etcd: &Etcd<'_>, probe: &Probe, settings: &Settings) -> Result<bool> {
    let options = ConnectOptions::from_variables(|name| match name {
        "ETCDCTL_PASSWORD" | "ETCDCTL_USER" | "ETCD_LOCK_PASSWORD_FILE" => None,
        _ => settings.variable(name),
    })?;
    let alone = options.with_endpoints([&probe.endpoint.name]);
    let stranger = GrpcTransport::connect(alone.with_max_attempts(1))?;
    let request = RangeRequest::key("etcd-lock");
    let options = CallOptions::new(etcd.timeout.into());
    match stranger.range(request, options).await {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(false),
        Err(error) if error.kind() == ErrorKind::Unauthenticated => Ok(true),
        Err(error) => Err(error),
    }
}

/// Asks for all that a lock needs, in requests that change nothing, but for a lease that is revoked.
pub(super) async fn permissions(etcd: &Etcd<'_>, name: &LockName, report: &mut Report) {
    let options = CallOptions::new(etcd.timeout.into());
    let read = RangeRequest::prefix(name.queue_prefix()).with_limit(1);
    let read = etcd.transport.range(read, options).await;
    report.add(verdict(name, "read", read.map(|_| ())));

    let lease = match grant(etcd).await {
        Ok(lease) => lease,
        Err(error) => return report.add(lease_refused("can't be granted: ", &error)),
    };
    let key = name.key(lease).as_bytes().clone();
    let put = PutRequest::new(key.clone(), "").with_lease(lease);
    report.add(verdict(name, "write", may(etcd, put.into()).await));
    let delete = DeleteRequest::key(key);
    report.add(verdict(name, "delete", may(etcd, delete.into()).await));
    report.add(match etcd.transport.lease_revoke(lease, options).await {
        Ok(_) => Check::ok("lease", "granted and revoked"),
        Err(error) => lease_refused("can't be revoked: ", &error),
    });
}

/// Whether etcd would do something. It checks what both branches of a transaction may do, and runs one: that of success, where
/// there is no condition.
async fn may(etcd: &Etcd<'_>, op: Op) -> Result<()> {
    let options = CallOptions::new(etcd.timeout.into());
    let txn = TxnRequest::new().or_else(op);
    etcd.transport.txn(txn, options).await.map(|_| ())
}

async fn grant(etcd: &Etcd<'_>) -> Result<LeaseId> {
    let request = LeaseGrantRequest::new(Ttl::from_secs(LEASE_SECONDS)?);
    let options = CallOptions::new(etcd.timeout.into());
    Ok(etcd.transport.lease_grant(request, options).await?.id)
}

fn verdict(name: &LockName, what: &str, result: Result<()>) -> Check {
    let subject = format!("permission to {what}");
    match result {
        Ok(()) => Check::ok(subject, format!("keys below {name}/")),
        Err(error) => {
            let role = format!(
                "an operator can give it: etcdctl role grant-permission ROLE readwrite --prefix=true {name}/"
            );
            let text = format!("keys below {name}/: ");
            Check::error(&subject, &text, &error, advice(&error, &role))
        }
    }
}

fn lease_refused(what: &str, error: &Error) -> Check {
    Check::error(
        "lease",
        what,
        error,
        advice(error, "see the log of the etcd"),
    )
}

fn advice<'a>(error: &Error, denied: &'a str) -> &'a str {
    match error.kind() {
        ErrorKind::PermissionDenied => denied,
        ErrorKind::ResourceExhausted => {
            "make room: etcdctl compaction, etcdctl defrag, and then etcdctl alarm disarm"
        }
        _ => "see the log of the etcd",
    }
}
