//! The network between processes and the server: requests, replies and events arrive late, twice or never.

use etcd_lock_core::watch::{EventKind, WatchBody, WatchRequest};
use etcd_lock_core::{Error, ErrorKind, Result};

use super::hub::{Call, Reply, StreamEnd, StreamItem};
use super::process::Micros;
use super::server::{Down, Who};
use super::transport::lost;
use super::world::{Event, World};
use crate::faults::{CallKind, ServerError};
use crate::history::{Author, Fact, Record};

/// The fate of a request's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Answer,
    /// It is a second copy, whose answer nobody waits for.
    Copy,
    Lose,
    /// The server says that it doesn't know whether it will be committed.
    TimeOut,
}

impl World<'_> {
    pub(super) fn latency(&mut self) -> Micros {
        self.rng.u64(200..2_500)
    }

    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.rng.u64(..1_000) < per_mille
    }

    /// Now and then much longer than usual.
    pub(super) fn late(&mut self, process: usize) -> Micros {
        if !self.chance(self.net.delay) {
            return 0;
        }
        self.stats.count("delay");
        let most = [50_000, 500_000, 4_000_000][self.rng.usize(..3)];
        let delay = self.rng.u64(..most);
        self.disturb(process, self.now + delay);
        delay
    }

    /// A fault disturbs a process until then.
    pub(super) fn disturb(&mut self, process: usize, until: Micros) {
        self.disturbed(u32::try_from(process).ok(), until);
    }

    /// A fault disturbs everybody until then.
    pub(super) fn disturb_all(&mut self, until: Micros) {
        self.disturbed(None, until);
    }

    fn disturbed(&mut self, process: Option<u32>, until: Micros) {
        let cause = String::new();
        self.record(Fact::Disturbed {
            process,
            cause,
            until,
        });
    }

    /// Puts a request on its way, whatever becomes of it.
    pub(super) fn send(&mut self, who: Who, at: Micros, call: Call) {
        if let Call::Grant(grant) = &call
            && let Some(lease) = grant.id
        {
            let ttl = u64::try_from(grant.ttl.as_duration().as_micros()).unwrap_or(u64::MAX);
            self.records.leased(at, who.client(), lease.get(), ttl);
        }
        if self.hosts[who.process].partitioned_until > at || self.chance(self.net.lose_request) {
            self.stats.count("request lost");
            self.fail(who, at);
            return;
        }
        if self.chance(self.net.strand) {
            self.stats.count("executed late");
            return self.strand(who, at, call);
        }
        if self.down_until > at || self.chance(self.net.refuse) {
            self.stats.count("request refused");
            let refused = Error::new(ErrorKind::Unavailable, "no connection");
            let arrives = at + self.latency();
            self.disturb(who.process, arrives);
            return self.at(arrives, Event::Reply(who, Err(refused)));
        }
        let arrives = at + self.latency() + self.late(who.process);
        let fate = if self.chance(self.net.lose_reply) {
            self.stats.count("reply lost");
            Fate::Lose
        } else if !call.is_read() && self.chance(self.net.time_out) {
            self.stats.count("request timed out");
            Fate::TimeOut
        } else {
            Fate::Answer
        };
        if call.is_group() {
            self.stats.count("group");
        }
        if matches!(call, Call::Txn(_))
            && let Some(length) = self.restart_at_request.take()
        {
            let before = arrives.saturating_sub(100).max(self.now);
            self.at(before, Event::ServerRestart(length));
        }
        if call.is_idempotent() && self.chance(self.net.duplicate) {
            self.stats.count("duplicate");
            self.duplicate(who, at, arrives, call.clone());
        }
        self.at(arrives, Event::Arrive { who, call, fate });
    }

    /// A second copy of a request, as a transport makes it that repeats what may be repeated: it arrives before the one
    /// that is answered, or long after.
    fn duplicate(&mut self, who: Who, at: Micros, arrives: Micros, call: Call) {
        let copy = if self.rng.bool() {
            arrives.saturating_sub(self.rng.u64(..1_000)).max(at)
        } else {
            arrives + self.long()
        };
        let fate = Fate::Copy;
        self.at(copy, Event::Arrive { who, call, fate });
    }

    /// A request that sits in a stalled server while its connection breaks: it is executed when its caller has long been
    /// told that nobody knows.
    fn strand(&mut self, who: Who, at: Micros, call: Call) {
        let told = at + self.rng.u64(1_000..300_000);
        self.at(told, Event::Reply(who, Err(lost("the connection broke"))));
        let arrives = told + self.long();
        self.disturb(who.process, arrives);
        if matches!(call, Call::Lock(_)) {
            self.hang_up(who, arrives);
        }
        let fate = Fate::Copy;
        self.at(arrives, Event::Arrive { who, call, fate });
    }

    /// Milliseconds or seconds.
    fn long(&mut self) -> Micros {
        let most = [5_000, 300_000, self.net.strand_ms.max(1) * 1_000][self.rng.usize(..3)];
        self.rng.u64(..most)
    }

    /// The server notices by and by that nobody waits for a call any more.
    pub(super) fn hang_up(&mut self, who: Who, at: Micros) {
        let noticed = at + self.rng.u64(..2_000_000);
        self.disturb(who.process, noticed);
        self.at(noticed, Event::Cancel(who));
    }

    /// A request that nobody answers: its caller learns that sooner or later.
    pub(super) fn fail(&mut self, who: Who, at: Micros) -> Micros {
        let after = if self.rng.bool() {
            self.rng.u64(1_000..300_000)
        } else {
            self.rng.u64(300_000..12_000_000)
        };
        let reply = Err(lost("no answer came"));
        self.disturb(who.process, at + after);
        self.at(at + after, Event::Reply(who, reply));
        at + after
    }

    pub(super) fn arrive(&mut self, who: Who, call: Call, fate: Fate) {
        self.on_their_way -= 1;
        if self.stalled_until > self.now {
            return self.at(self.stalled_until, Event::Arrive { who, call, fate });
        }
        let answer = match self.server_error(who, &call) {
            Some(error) => Some(Err(error)),
            None if self.is_read_behind(who, &call) => self.server.read_behind(&call),
            None => self.server.execute(who, &call),
        };
        self.log.add(
            self.now,
            format_args!(
                "server does {}.{} ({fate:?}): {answer:?}",
                who.process, who.id
            ),
        );
        self.flush(who.author());
        if let Some(answer) = answer {
            self.answer(who, answer, fate);
        }
    }

    pub(super) fn answer(&mut self, who: Who, answer: Result<Reply>, fate: Fate) {
        match fate {
            Fate::Answer => {
                if matches!(answer, Ok(Reply::Txn(_) | Reply::Lock(_)))
                    && let Some(delay) = self.hosts[who.process].slow_reply.take()
                {
                    self.disturb(who.process, self.now + delay);
                    return self.at(self.now + delay, Event::Reply(who, answer));
                }
                let arrives = self.now + self.latency() + self.late(who.process);
                self.at(arrives, Event::Reply(who, answer));
            }
            Fate::Copy => {}
            // A wait that was answered later has got as far as the queue.
            Fate::TimeOut => {
                let arrives = self.now + self.latency();
                self.disturb(who.process, arrives);
                let error = ServerError::RequestTimedOut.error(CallKind::TxnPut);
                self.at(arrives, Event::Reply(who, Err(error)));
            }
            Fate::Lose => {
                let told = self.fail(who, self.now);
                // A member that was stopped takes note of its caller's end before it takes note of the grant.
                if let Ok(Reply::Lock(reply)) = answer
                    && self.rng.bool()
                {
                    self.server.has_not_noticed(who, reply.key);
                    self.hang_up(who, told);
                }
            }
        }
    }

    pub(super) fn reply(&mut self, who: Who, result: Result<Reply>) {
        if self.hosts[who.process].partitioned_until > self.now && result.is_ok() {
            self.fail(who, self.now);
            return;
        }
        let call = self
            .process(who)
            .and_then(|process| process.calls.remove(&who.id));
        if let Some(call) = call {
            self.log.add(
                self.now,
                format_args!("{} is answered {}: {result:?}", who.process, who.id),
            );
            if let Err(error) = &result
                && error.server_text().is_some()
            {
                self.refused(who, error.kind());
            }
            // A caller that has just given up hears nothing.
            let _ = call.send(result);
            self.wake(who.process);
        }
    }

    /// A client is told that a request is refused. A process that stands still hears of it when it goes on.
    pub(super) fn refused(&mut self, who: Who, kind: ErrorKind) {
        let client = who.client();
        let at = self.now.max(self.hosts[who.process].paused_until);
        let told = Fact::Refused { client, kind };
        self.records.add(Record::observed(at, told));
    }

    pub(super) fn up(&mut self, who: Who, item: StreamItem) {
        let held_up = self.stalled_until.max(self.hosts[who.process].held_up());
        if held_up > self.now {
            return self.put_off(held_up, Event::Up(who, item));
        }
        if self
            .process(who)
            .is_none_or(|process| !process.streams.contains_key(&who.id))
        {
            return;
        }
        if let StreamItem::Watch(WatchRequest::Create(watch)) = &item {
            self.watched.insert((who, watch.id), watch.key.clone());
        }
        let reply = self.server.on_stream(who, item);
        self.flush(Author::Expiry);
        if let Some(reply) = reply {
            self.send_down(who, reply);
        }
    }

    pub(super) fn send_down(&mut self, who: Who, reply: Down) {
        let arrives = self.now + self.latency() + self.late(who.process);
        let Some(stream) = self
            .process(who)
            .and_then(|process| process.streams.get_mut(&who.id))
        else {
            return;
        };
        stream.down = stream.down.max(arrives);
        let arrives = stream.down;
        self.at(arrives, Event::Down(who, reply));
    }

    pub(super) fn down(&mut self, who: Who, down: Down) {
        let held_up = self.hosts[who.process].held_up();
        if held_up > self.now {
            return self.put_off(held_up, Event::Down(who, down));
        }
        if self
            .process(who)
            .is_none_or(|process| !process.streams.contains_key(&who.id))
        {
            return;
        }
        if let Down::Watch(Ok(reply)) = &down
            && let WatchBody::Events(events) = &reply.body
        {
            for event in events
                .iter()
                .filter(|event| event.kind == EventKind::Delete)
            {
                self.claims_due = true;
                self.record(Fact::Told {
                    client: who.client(),
                    key: String::from_utf8_lossy(&event.kv.key).into_owned(),
                    revision: event.kv.mod_revision.get(),
                });
            }
        }
        self.watch_ended(who, &down);
        self.log.add(
            self.now,
            format_args!("{} hears on {}: {down:?}", who.process, who.id),
        );
        let Some(stream) = self
            .process(who)
            .and_then(|process| process.streams.get(&who.id))
        else {
            return;
        };
        // A reader that is gone hears nothing.
        match (&stream.end, down) {
            (StreamEnd::KeepAlive(sender), Down::KeepAlive(reply)) => drop(sender.send(reply)),
            (StreamEnd::Watch(sender), Down::Watch(reply)) => drop(sender.send(reply)),
            _ => {}
        }
        self.wake(who.process);
    }

    /// Passes on what the server's last act has brought about.
    pub(super) fn flush(&mut self, by: Author) {
        for events in self.server.changes() {
            self.log
                .add(self.now, format_args!("changed by {by:?}: {events:?}"));
            self.records.changed(self.now, &events, by);
            self.claims_due = true;
            self.delete_soon(&events);
        }
        let leases = self.server.leases();
        self.records.leases_are(self.now, &leases, by);
        for (who, event) in self.server.lost_events() {
            self.event_lost(who, &event);
        }
        for (who, answer) in self.server.answered_locks() {
            let fate = if self.chance(self.net.lose_reply) {
                self.stats.count("reply lost");
                Fate::Lose
            } else {
                Fate::Answer
            };
            self.answer(who, answer, fate);
        }
        for (who, down) in self.server.watch_replies() {
            self.note_watch(who, &down);
            self.watch_ended(who, &down);
            self.send_down(who, down);
        }
    }

    fn note_watch(&mut self, who: Who, down: &Down) {
        if let Down::Watch(Ok(reply)) = down
            && matches!(reply.body, WatchBody::Created)
            && let Some(key) = self.watched.get(&(who, reply.id))
        {
            let key = String::from_utf8_lossy(key).into_owned();
            let client = who.client();
            self.record(Fact::Watched { client, key });
        }
    }
}
