//! Whether etcd lets this user in, and what a lock needs is allowed.

use etcd_lock::core::CallOptions;
use etcd_lock::core::lease::LeaseGrantRequest;
use etcd_lock::grpc::{Config, GrpcTransport};
use etcd_lock::kv::{DeleteRequest, PutRequest, RangeRequest, TxnRequest};
use etcd_lock::{ErrorKind, LeaseId, LockName, Result, Ttl};

use super::Etcd;
use super::check::{Check, Report};
use super::endpoints::Probe;
use crate::settings::Settings;

/// How long the lease of the check lives where it can't be revoked.
const LEASE_SECONDS: i64 = 5;

/// Says whether the login works and is needed. Returns whether this user is in.
pub(super) async fn login(
    etcd: &Etcd<'_>,
    probe: &Probe,
    settings: &Settings,
    report: &mut Report,
) -> bool {
    let user = settings.get("user");
    let user = user.map(|user| {
        user.text
            .to_string_lossy()
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned()
    });
    let refusal = probe
        .answer
        .as_ref()
        .ok()
        .and_then(|answer| answer.refusal.as_ref());
    let refused = refusal.filter(|error| error.kind() == ErrorKind::Unauthenticated);
    report.add(match (&user, refused) {
        (Some(user), Some(error)) => Check::error(
            "login",
            &format!("{user} is not let in: "),
            error,
            "correct --user and its password; an operator can set it with `etcdctl user passwd`",
        ),
        (None, Some(error)) => Check::error(
            "login",
            "etcd wants a user: ",
            error,
            "give --user and --password-file, or a client certificate with the user's name",
        ),
        (None, None) => Check::ok("login", "none is given, and none is needed"),
        (Some(user), None) => match is_needed(etcd, probe, settings).await {
            Ok(true) => Check::ok("login", format!("{user} is let in, and nobody is without a login")),
            Ok(false) => Check::ok(
                "login",
                format!(
                    "{user} is let in, and so is this machine without a login: authentication is off, or the client \
                     certificate names a user"
                ),
            ),
            Err(_) => Check::ok("login", format!("{user} is let in")),
        },
    });
    refused.is_none()
}

/// Whether the same endpoint refuses a client that doesn't log in.
async fn is_needed(etcd: &Etcd<'_>, probe: &Probe, settings: &Settings) -> Result<bool> {
    let config = Config::from_variables(|name| match name {
        "ETCDCTL_PASSWORD" | "ETCDCTL_USER" | "ETCD_LOCK_PASSWORD_FILE" => None,
        _ => settings.variable(name),
    })?;
    let options = config.options().clone().with_max_attempts(1);
    let stranger = GrpcTransport::connect([&probe.endpoint.name], options)?;
    let request = RangeRequest::key("etcd-lock");
    let reply =
        etcd_lock::Transport::range(&stranger, request, CallOptions::new(etcd.timeout.into()))
            .await;
    match reply {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(false),
        Err(error) if error.kind() == ErrorKind::Unauthenticated => Ok(true),
        Err(error) => Err(error),
    }
}

/// Asks for all that a lock needs, in requests that change nothing. etcd checks what both branches of a transaction may do,
/// and runs one: that of success, where there is no condition.
pub(super) async fn permissions(etcd: &Etcd<'_>, name: &LockName, report: &mut Report) {
    let options = CallOptions::new(etcd.timeout.into());
    let (transport, prefix) = (etcd.transport, name.queue_prefix());
    let read = RangeRequest::prefix(prefix.clone()).with_limit(1);
    let read = transport.range(read, options).await;
    report.add(verdict(name, "read", read.map(|_| ())));

    let lease = match grant(etcd).await {
        Ok(lease) => lease,
        Err(error) => {
            report.add(Check::error(
                "lease",
                "can't be granted: ",
                &error,
                advice_of(error.kind(), ""),
            ));
            return;
        }
    };
    let key = name.key(lease).as_bytes().clone();
    let put = TxnRequest::new().or_else(PutRequest::new(key.clone(), "").with_lease(lease));
    let put = transport.txn(put, options).await;
    report.add(verdict(name, "write", put.map(|_| ())));
    let delete = TxnRequest::new().or_else(DeleteRequest::key(key));
    let delete = transport.txn(delete, options).await;
    report.add(verdict(name, "delete", delete.map(|_| ())));
    report.add(match transport.lease_revoke(lease, options).await {
        Ok(_) => Check::ok("lease", "granted and revoked"),
        Err(error) => Check::error(
            "lease",
            "can't be revoked: ",
            &error,
            advice_of(error.kind(), ""),
        ),
    });
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
            Check::error(&subject, &text, &error, advice_of(error.kind(), &role))
        }
    }
}

fn advice_of(kind: ErrorKind, denied: &str) -> &str {
    match kind {
        ErrorKind::PermissionDenied => denied,
        ErrorKind::ResourceExhausted => {
            "make room: etcdctl compaction, etcdctl defrag, and then etcdctl alarm disarm"
        }
        _ => "see the log of the etcd",
    }
}
