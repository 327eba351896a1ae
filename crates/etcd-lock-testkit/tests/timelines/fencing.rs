//! A process that is stopped while it holds a lock, and writes when it goes on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcd_lock::{ErrorKind, FenceGate, FencingToken};
use etcd_lock_testkit::history::{Fact, Micros, WriteEnd};
use etcd_lock_testkit::recorder::RecordedGuard;
use expect_test::expect_file;
use tokio::time::sleep;

use crate::drawing::{Bar, Mark, Timeline};
use crate::run::{Run, Turn};
use crate::stage::{Process, Stage};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn picture_of_fencing_is_that_of_a_run() {
    let stage = Stage::new(Duration::from_millis(100));
    let storage = Storage::new(stage.latency);
    let first = stage.process(1, TTL).await;
    let second = stage.process(2, TTL).await;
    tokio::join!(
        async {
            let guard = first.lock().await;
            sleep(Duration::from_secs(9)).await;
            assert!(guard.is_held());
            first.stopped(Duration::from_secs(14)).await;
            storage.write(1, &first, &guard).await;
        },
        async {
            sleep(Duration::from_secs(5)).await;
            let guard = second.lock().await;
            sleep(Duration::from_millis(500)).await;
            storage.write(2, &second, &guard).await;
            sleep(Duration::from_secs(13)).await;
            guard.unlock().await.unwrap();
        },
    );
    let run = stage.end().await;
    expect_file!["../../../../docs/pictures/fencing.svg"].assert_eq(&picture(&run));
}

/// A resource that refuses a smaller token than it has seen.
struct Storage {
    gate: Mutex<FenceGate>,
    latency: Duration,
}

impl Storage {
    fn new(latency: Duration) -> Self {
        let gate = Mutex::default();
        Self { gate, latency }
    }

    /// Writes with the token of a guard, and notes how that ends.
    async fn write(&self, write: u64, process: &Process, guard: &RecordedGuard) {
        let (recorded, grant) = (&process.recorded, guard.grant());
        let client = recorded.identity();
        recorded.note(Fact::WriteBegan {
            client,
            write,
            grant,
        });
        sleep(self.latency).await;
        let end = match self.admit(guard.guard().token()) {
            Ok(()) => WriteEnd::Done,
            Err(ErrorKind::Lost) => WriteEnd::Refused,
            Err(kind) => panic!("{kind:?}"),
        };
        if end == WriteEnd::Done {
            recorded.note(Fact::Committed { write });
        }
        recorded.note(Fact::WriteEnded { client, write, end });
    }

    fn admit(&self, token: FencingToken) -> Result<(), ErrorKind> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.admit(token).map_err(|error| error.kind())
    }
}

/// A write, as the history tells it.
struct Write<'a> {
    turn: &'a Turn,
    sent: Micros,
    ended: Micros,
    end: WriteEnd,
}

fn picture(run: &Run) -> String {
    let turns = run.turns();
    let [first, second] = &turns[..] else {
        panic!("two grants: {turns:?}");
    };
    let writes = writes(run, &turns);
    let life = run.life(&first.entry);
    let end = second.ended.unwrap();
    let title = "A holder that was stopped is refused";
    let mut picture = Timeline::new(title, first.asked, end);

    let rows = ["client 1", "entry of client 1", "client 2", "storage"];
    let [one, entry, two, storage] = rows.map(|name| picture.row(name));
    let stopped = run.when(|fact| matches!(fact, Fact::Paused { .. }));
    let resumed = run.when(|fact| matches!(fact, Fact::Resumed { .. }));
    picture.bar(one, Bar::Waiting, [first.asked, first.granted], "waiting");
    let text = format!("holding, token {}", first.token);
    picture.bar(one, Bar::Holding, [first.granted, stopped], text);
    picture.bar(one, Bar::Stopped, [stopped, resumed], "stopped");
    picture.bar(two, Bar::Waiting, [second.asked, second.granted], "waiting");
    let text = format!("holding, token {}", second.token);
    picture.bar(two, Bar::Holding, [second.granted, end], text);

    let (asked, held) = run.find(|fact| match fact {
        Fact::Claimed { held, .. } => Some(*held),
        _ => None,
    });
    let text = format!("is the lock held? {}", if held { "yes" } else { "no" });
    picture.mark(one, Mark::Moment, asked, text);
    draw_storage(&mut picture, storage, &writes, end);
    for write in &writes {
        let row = if write.turn.process == first.process {
            one
        } else {
            two
        };
        picture.arrow((row, write.sent), (storage, write.ended));
    }

    let there = [life.created.at, life.deleted.at];
    picture.bar(entry, Bar::Lasting, there, "in etcd");
    picture.mark(
        entry,
        Mark::Done,
        life.deleted.at,
        "deleted: its lease ends",
    );
    picture.arrow((entry, life.deleted.at), (two, second.granted));
    picture.svg()
}

/// The greatest token that the storage has seen, and its answers.
fn draw_storage(picture: &mut Timeline, row: usize, writes: &[Write<'_>], end: Micros) {
    let admitted: Vec<_> = writes
        .iter()
        .filter(|it| it.end == WriteEnd::Done)
        .collect();
    for (number, write) in admitted.iter().enumerate() {
        let until = admitted.get(number + 1).map_or(end, |next| next.ended);
        let text = format!("greatest token: {}", write.turn.token);
        picture.bar(row, Bar::Lasting, [write.ended, until], text);
    }
    for write in writes {
        let token = &write.turn.token;
        match write.end {
            WriteEnd::Done => picture.mark(
                row,
                Mark::Done,
                write.ended,
                format!("write, token {token}"),
            ),
            _ => {
                let text = format!("write, token {token}: refused");
                picture.mark(row, Mark::Refused, write.ended, text);
            }
        }
    }
}

fn writes<'a>(run: &Run, turns: &'a [Turn]) -> Vec<Write<'a>> {
    let began = run.all(|fact| match fact {
        Fact::WriteBegan { write, grant, .. } => Some((*write, *grant)),
        _ => None,
    });
    let write = |(sent, (write, grant))| {
        let (ended, end) = run.find(|fact| match fact {
            Fact::WriteEnded { write: it, end, .. } if *it == write => Some(*end),
            _ => None,
        });
        let turn = turns.iter().find(|turn| turn.grant == grant).unwrap();
        Write {
            turn,
            sent,
            ended,
            end,
        }
    };
    began.map(write).collect()
}
