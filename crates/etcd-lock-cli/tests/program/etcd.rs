//! Etcds to run the program on, and a view into them.

use std::time::Duration;

use etcd_lock::core::CallOptions;
use etcd_lock::kv::{KeyValue, Op, RangeRequest, TxnRequest};
use etcd_lock::{Client, LeaseId, connect, lease};
use etcd_lock_testkit::RealEtcd;
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::program::{End, PATIENCE, Program, etcd_lock};

/// An etcd of one test alone.
#[derive(Debug)]
pub(crate) struct Etcd {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Embedded,
    Served(Served),
    Real(RealEtcd),
}

#[derive(Debug)]
struct Served {
    program: Box<Program>,
    endpoint: String,
}

impl Etcd {
    /// One that lives inside of each run of the program.
    pub(crate) async fn embedded() -> Self {
        let kind = Kind::Embedded;
        Self { kind }
    }

    /// `etcd-lock serve`.
    pub(crate) async fn served() -> Self {
        let mut command = etcd_lock();
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        let mut program = Box::new(Program::start(command));
        let line = program.line().await;
        let endpoint = line.strip_prefix("listening on ").unwrap().to_owned();
        let kind = Kind::Served(Served { program, endpoint });
        Self { kind }
    }

    /// A real one.
    pub(crate) async fn real() -> Self {
        let kind = Kind::Real(RealEtcd::start().await);
        Self { kind }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        match &self.kind {
            Kind::Embedded => panic!("nobody else can look into an embedded etcd"),
            Kind::Served(served) => served.endpoint.clone(),
            Kind::Real(etcd) => etcd.endpoints().remove(0),
        }
    }

    /// Sends `etcd-lock serve` a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let Kind::Served(served) = &self.kind else {
            panic!("only `etcd-lock serve` is a program of ours");
        };
        served.program.signal(signal);
    }

    /// Ends it without a goodbye.
    pub(crate) fn kill(&mut self) {
        match &mut self.kind {
            Kind::Embedded => panic!("an embedded etcd ends with its program"),
            Kind::Served(served) => served.program.signal(Signal::SIGKILL),
            Kind::Real(etcd) => etcd.members()[0].kill(),
        }
    }

    /// Ends a real one without a goodbye, and starts it again.
    pub(crate) async fn restart(&mut self) {
        let Kind::Real(etcd) = &mut self.kind else {
            panic!("only a real etcd keeps its data");
        };
        etcd.members()[0].restart().await;
    }

    /// The program, told to use this etcd.
    pub(crate) fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = etcd_lock();
        match self.kind {
            Kind::Embedded => command.arg("--embedded"),
            _ => command.args(["--endpoints", &self.endpoint()]),
        };
        command.args(args);
        command
    }

    /// Starts the program on this etcd.
    pub(crate) fn start<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Program {
        Program::start(self.command(args))
    }

    /// Runs the program on this etcd to its end.
    pub(crate) async fn end_of<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> End {
        self.start(args).end().await
    }

    /// etcd's own program, told to use this etcd.
    pub(crate) fn etcdctl<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(args);
        command
    }

    /// A client of our own.
    pub(crate) fn client(&self) -> Client {
        connect([self.endpoint()]).unwrap()
    }

    /// Runs a command under a lock that holds it until its standard input is closed.
    pub(crate) async fn hold(&self, name: &str, options: &[&str]) -> Program {
        let args = ["run", name].into_iter().chain(options.iter().copied());
        let mut holder = self.start(args.chain(["--", "sh", "-c", "echo held; cat"]));
        assert_eq!(holder.line().await, "held");
        holder
    }

    /// Does something to the store, by nobody that the program knows.
    pub(crate) async fn commit(&self, op: impl Into<Op>) {
        let txn = TxnRequest::new().and_then(op);
        let options = CallOptions::new(PATIENCE.into());
        let reply = self.client().transport().txn(txn, options).await;
        reply.unwrap();
    }

    /// The entries of a lock's queue.
    pub(crate) async fn queue(&self, name: &str) -> Vec<KeyValue> {
        let request = RangeRequest::prefix(format!("{name}/"));
        let options = CallOptions::new(PATIENCE.into());
        let reply = self.client().transport().range(request, options).await;
        reply.unwrap().kvs
    }

    /// Waits until a lock's queue has so many entries, the holder's included.
    pub(crate) async fn queue_has(&self, name: &str, entries: usize) {
        let watching = async {
            while self.queue(name).await.len() != entries {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let came = timeout(PATIENCE, watching).await;
        assert!(
            came.is_ok(),
            "never {entries} entries in the queue of {name}"
        );
    }

    /// All leases that there are.
    pub(crate) async fn leases(&self) -> Vec<LeaseId> {
        lease::leases(&self.client()).await.unwrap().leases
    }

    /// That nothing of a lock is left: no entry in its queue, and no lease at all.
    pub(crate) async fn nothing_is_left(&self, name: &str) {
        assert_eq!(self.queue(name).await, []);
        assert_eq!(self.leases().await, []);
    }

    /// Ends the only lease that there is.
    pub(crate) async fn revoke_the_lease(&self) {
        let leases = self.leases().await;
        assert_eq!(leases.len(), 1);
        lease::revoke(&self.client(), leases[0]).await.unwrap();
    }

    /// Sends the server a signal and waits for its end.
    pub(crate) async fn stop(self, signal: Signal) -> End {
        let Kind::Served(served) = self.kind else {
            panic!("only `etcd-lock serve` is a program of ours");
        };
        served.program.signal(signal);
        served.program.end_by_itself().await
    }
}
