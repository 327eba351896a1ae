//! Locks of processes that are stopped and killed, on a real etcd.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use etcd_lock_core::kv::PutRequest;
use etcd_lock_core::{Client, LockName};
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_session::{Mutex, Queue, Session, queue};
use etcd_lock_testkit::recorder::Recorder;
use etcd_lock_testkit::{RealEtcd, store};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

const TTL: Duration = Duration::from_secs(10);

/// A holder is stopped for longer than its time to live. Woken, it doubts, its fenced write is refused and it learns of
/// the loss; what it writes without the fence goes through, over the new holder's value.
#[tokio::test]
async fn a_holder_stopped_past_its_time_to_live_is_refused() {
    let etcd = RealEtcd::start().await;
    let recorder = Recorder::start(&etcd.endpoints());
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history");
    let client = connect(&etcd);
    let endpoint = etcd.endpoints().remove(0);
    let mut first = Contender::recorded(&["hold", &endpoint, "job"], &history);
    first.says("held");
    first.signal(Signal::SIGSTOP);
    recorder.disturbed(Some(1), "stopped", Duration::from_secs(4));

    let session = Session::open(&client, TTL).await.unwrap();
    let second = recorder.client(2);
    second.note_session(&session);
    let next = second.lock(&session, "job").await.unwrap();
    let token = next.guard().token().to_string();
    for key in ["job-fenced", "job-naive"] {
        let write = PutRequest::new(key, token.clone());
        assert!(
            next.guard()
                .fenced_txn()
                .and_then(write)
                .commit()
                .await
                .unwrap()
                .succeeded
        );
    }
    first.go_on();
    first.signal(Signal::SIGCONT);

    first.says("doubted");
    first.says("lost");
    let why = first.line();
    assert!(["lost", "lease_not_found"].contains(&why.as_str()), "{why}");
    assert!(next.is_held());
    let fenced = store::get(&client, "job-fenced").await.unwrap().value;
    assert_eq!(fenced, token.as_bytes());
    let naive = store::get(&client, "job-naive").await.unwrap().value;
    assert_ne!(
        naive,
        token.as_bytes(),
        "the control: without the fence it is overwritten"
    );
    let lines = std::fs::read_to_string(&history).unwrap();
    recorder.finds_nothing_with(&[&lines]).await;
}

/// A holder that isn't stopped believes in its lock and may write: the test above could not pass for another reason.
#[tokio::test]
async fn a_holder_that_goes_on_keeps_its_lock() {
    let etcd = RealEtcd::start().await;
    let mut holder = Contender::start(&["hold", &etcd.endpoints()[0], "job"]);
    holder.says("held");
    sleep(Duration::from_secs(5)).await;
    holder.go_on();
    holder.says("believed");
    holder.says("written");
}

/// The leases of a process that is killed clear its hundred places away, and who comes next gets the lock.
#[tokio::test]
async fn a_killed_process_leaves_an_empty_queue() {
    let etcd = RealEtcd::start().await;
    let client = connect(&etcd);
    let mut crowd = Contender::start(&["crowd", &etcd.endpoints()[0], "job", "100"]);
    crowd.says("waiting");
    places(&client, "job", 100).await;

    crowd.0.kill().unwrap();

    places(&client, "job", 0).await;
    let session = Session::open(&client, TTL).await.unwrap();
    Mutex::new(&session, "job")
        .unwrap()
        .lock()
        .await
        .unwrap()
        .unlock()
        .await
        .unwrap();
}

fn connect(etcd: &RealEtcd) -> Client {
    let transport = GrpcTransport::connect(etcd.endpoints()).unwrap();
    Queue::new(transport).into_client()
}

async fn places(client: &Client, name: &'static str, count: usize) {
    let name = LockName::new(name).unwrap();
    let reached = async {
        while queue(client, name.as_bytes().clone())
            .await
            .unwrap()
            .entries
            .len()
            != count
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), reached).await.unwrap();
}

/// The program `contender`, killed at the end.
struct Contender(Child, BufReader<ChildStdout>, ChildStdin);

impl Contender {
    fn start(args: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_contender")).args(args))
    }

    /// One that writes what it claims into a file.
    fn recorded(args: &[&str], history: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_contender"));
        Self::spawn(command.args(args).env("HISTORY", history))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        Self(child, output, input)
    }

    /// The next line that it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn says(&mut self, word: &str) {
        assert_eq!(self.line(), word);
    }

    fn go_on(&mut self) {
        self.2.write_all(b"\n").unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It has ended by itself where this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
