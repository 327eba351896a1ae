//! `etcd-lock doctor`: whether the way to etcd is clear, and what to do where it isn't.

mod access;
mod check;
mod clock;
mod endpoints;
mod setup;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use etcd_lock::{LockName, Transport};

use crate::args::{Common, Format};
use crate::connection::{self, Connection};
use crate::exit::Failure;
use crate::print::{View, print};
use check::Report;
use endpoints::Endpoint;

/// The part of the help that a script depends on.
pub(crate) const ABOUT: &str = "\
Each check has a line: ok, warn or FAIL, what was found, and what to do about it. Nothing is
changed on etcd: a lease of a few seconds is granted and revoked.

With -o json it is an object: status is the exit status, and checks has an object for each
line: subject, verdict (ok, warn, fail), status, text, advice (or null), and details: for an
endpoint member_id, cluster_id, revision, raft_term, version, leader_id, database_bytes,
first_ms, median_ms, worst_ms.

Examples:
  etcd-lock doctor
  etcd-lock doctor jobs/nightly --user worker --password-file password
  etcd-lock doctor -o json | jq '.checks[] | select(.verdict == \"fail\")'

Exit status:
  that of the first check that failed; a warning is no failure
  0    no check failed
  64   a setting is wrong, or the endpoints are of several clusters
  69   an endpoint doesn't answer
  70   etcd refuses for another reason, such as a full database
  71   the operating system is in the way
  77   etcd doesn't let this user in, or do what a lock needs";

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// A lock's name: what this user may do with it is checked, too
    name: Option<LockName>,
    #[command(flatten)]
    output: Format,
}

/// Prints a line for each check. Each answer is waited for no longer than the timeout of a command.
pub(crate) async fn run(common: &Common, args: &Doctor) -> Result<ExitCode, Failure> {
    let mut report = Report::default();
    examine(&common.connection, args.name.as_ref(), &mut report).await;
    print(args.output, &View::new(&report, report.json()))?;
    Ok(report.status().into())
}

/// Ends where there is nothing left to be checked.
async fn examine(connection: &Connection, name: Option<&LockName>, report: &mut Report) {
    let Some((options, settings)) = setup::check(connection, report) else {
        return;
    };
    let timeout = connection::timeout(&options);
    let endpoints = match connection.is_embedded() {
        true => vec![Endpoint::embedded()],
        false => Endpoint::all(&options, report),
    };
    let probes = endpoints::probe(endpoints, name, timeout).await;
    endpoints::report(&probes, report);
    let Some(probe) = probes.iter().find(|probe| probe.answer.is_ok()) else {
        return;
    };
    let etcd = Etcd {
        transport: probe.endpoint.transport.as_ref(),
        timeout,
    };
    clock::check(&etcd, name, report).await;
    let is_in = access::login(&etcd, probe, &settings, report).await;
    if let Some(name) = name.filter(|_| is_in) {
        access::permissions(&etcd, name, report).await;
    }
}

/// An endpoint that has answered.
struct Etcd<'a> {
    transport: &'a dyn Transport,
    /// How long each answer may take.
    timeout: Duration,
}
