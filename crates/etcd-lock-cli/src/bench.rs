//! `etcd-lock bench`: how fast locks are on this etcd, beside plain reads and writes in the same run.

mod work;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use etcd_lock::grpc::parse_duration;
use etcd_lock::{Error, LockName, Session, SessionOptions};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use crate::args::{Common, Format};
use crate::connection::Connected;
use crate::exit::Failure;
use crate::farewell::farewell;
use crate::print::{View, print};
use crate::signals::Signals;
use work::{Kind, Measured, measure};

/// The part of the help that a script depends on.
pub(crate) const ABOUT: &str = "\
Each task has a connection, a session and keys of its own below PREFIX/LEASE/. Two writes are
the least that a lock can cost. The last columns say how many times as long as a read, and as
two writes, a cycle takes: by p50, and for the lock that all want by cycles a second.

With -o json it is an object: tasks, seconds, and for each of read, write, uncontended and
contended cycles, per_second, p50_ms, p99_ms, cycle_to_read, cycle_to_write.

Examples:
  etcd-lock bench
  etcd-lock bench --tasks 1 --time 10s --name team/bench";

#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Where the names of the locks begin
    #[arg(long, value_name = "PREFIX", default_value = "etcd-lock-bench")]
    name: LockName,
    /// How many tasks work at once, each with a connection
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    tasks: u16,
    /// How long each of the four measurements takes
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    time: Duration,
    #[command(flatten)]
    output: Format,
}

/// Prints a line for each kind of work. All keys belong to leases that are revoked, also when a signal comes.
pub(crate) async fn run(common: &Common, args: &Bench) -> Result<ExitCode, Failure> {
    let mut signals = Signals::catch()?;
    let open = common.connection.opener()?;
    let etcds: Result<Vec<_>, _> = (0..args.tasks).map(|_| open()).collect();
    let (etcds, mut sessions) = (etcds?, Vec::new());
    let result = tokio::select! {
        result = all(&etcds, args, &mut sessions) => result,
        signal = signals.next() => Err(Failure::signal(signal as i32)),
    };
    farewell(close(sessions)).await;
    let results = Results(result?);
    print(args.output, &View::new(&results, results.json(args)))?;
    Ok(ExitCode::SUCCESS)
}

/// Measures one kind of work after the other.
async fn all(
    etcds: &[Connected],
    args: &Bench,
    sessions: &mut Vec<Session>,
) -> Result<Vec<(Kind, Measured)>, Failure> {
    for etcd in etcds {
        let options = SessionOptions::new().with_timeout(etcd.timeout);
        sessions.push(options.open(&etcd.client).await?);
    }
    // Two runs at once don't meet.
    let run = sessions.first().map(|session| session.lease().to_string());
    let prefix = format!(
        "{}/{}",
        String::from_utf8_lossy(args.name.as_bytes()),
        run.unwrap_or_default()
    );
    let mut results = Vec::new();
    for kind in Kind::ALL {
        let measured = measure(kind, &prefix, etcds, sessions, args.time).await?;
        results.push((kind, measured));
    }
    Ok(results)
}

/// Closes all of them, also where one fails.
async fn close(sessions: Vec<Session>) -> Result<(), Error> {
    let closing = sessions.into_iter().map(Session::close);
    join_all(closing).await.into_iter().collect()
}

struct Results(Vec<(Kind, Measured)>);

impl Results {
    /// How many times as long as another kind of work one cycle takes.
    fn ratio(&self, measured: &Measured, kind: Kind) -> f64 {
        let other = self.0.iter().find(|(other, _)| *other == kind);
        other.map_or(f64::NAN, |(_, other)| {
            measured.cycle().as_secs_f64() / other.cycle().as_secs_f64()
        })
    }

    fn json(&self, args: &Bench) -> Value {
        let kinds = self.0.iter().map(|(kind, measured)| {
            let numbers = json!({
                "cycles": measured.cycles,
                "per_second": measured.per_second(),
                "p50_ms": millis(measured.p50),
                "p99_ms": millis(measured.p99),
                "cycle_to_read": self.ratio(measured, Kind::Read),
                "cycle_to_write": self.ratio(measured, Kind::Write),
            });
            (kind.as_str().to_owned(), numbers)
        });
        let mut value = Map::from_iter(kinds);
        value.insert("tasks".to_owned(), args.tasks.into());
        value.insert("seconds".to_owned(), args.time.as_secs_f64().into());
        value.into()
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<30} {:>10} {:>10} {:>10} {:>8} {:>8}",
            "", "a second", "p50", "p99", "/ read", "/ write"
        )?;
        for (kind, measured) in &self.0 {
            writeln!(
                f,
                "{:<30} {:>10.0} {:>7.2} ms {:>7.2} ms {:>8.2} {:>8.2}",
                kind.about(),
                measured.per_second(),
                millis(measured.p50),
                millis(measured.p99),
                self.ratio(measured, Kind::Read),
                self.ratio(measured, Kind::Write),
            )?;
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
