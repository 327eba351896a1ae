//! Sending one request, and giving each member its reply.

use std::sync::Arc;
use std::time::Duration;

use etcd_lock_core::kv::{TxnRequest, TxnResponse};
use etcd_lock_core::{CallOptions, Error, ErrorKind, Result, Timeout};
use tokio::task::yield_now;
use tokio::time::Instant;
use tracing::{Instrument, debug_span};

use crate::batch::{self, Size};
use crate::group::{Group, RunningSlot};
use crate::member::{Member, abandoned};
use crate::metrics;

/// Transactions that are sent as one request.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) group: Arc<Group>,
    pub(crate) members: Vec<Member>,
}

impl Batch {
    /// Sends the request in a slot.
    pub(crate) async fn run(self, slot: RunningSlot) {
        let span = debug_span!("txn.group", members = self.members.len());
        for member in &self.members {
            span.follows_from(&member.span);
            metrics::waited(member.arrived.elapsed());
        }
        metrics::sent_together(self.members.len());
        self.commit().instrument(span).await;
        // Callers that have got their replies come back at once with their next transactions. With the slot free already, the
        // first of them would go alone, and the others after it.
        yield_now().await;
        drop(slot);
    }

    async fn commit(mut self) {
        let options = self.options();
        if options.timeout == Timeout::After(Duration::ZERO) {
            let text = "the time of the transaction was up before it was sent";
            return self.answer_each(|_| Err(Error::new(ErrorKind::Timeout, text)));
        }
        let transport = self.group.transport().clone();
        if let [member] = &self.members[..] {
            let reply = transport.txn(member.txn.clone(), options).await;
            return self.answer_each(|_| reply.clone());
        }
        let members = self.members.iter();
        let request = batch::outer(members.map(|member| (&member.txn, &member.access)));
        let reply = transport.txn(request, options).await;
        let reply = reply.and_then(|reply| {
            let header = reply.header;
            let replies = batch::replies(reply, self.members.len())?;
            Ok((header, replies))
        });
        match reply {
            Ok((header, replies)) => {
                let mut replies = replies.into_iter();
                self.answer_each(|txn| match replies.next() {
                    Some(reply) => batch::unpack(reply, header, txn),
                    None => Err(abandoned()),
                });
            }
            Err(error) if batch::is_fault_of_one(&error) => {
                self.group.state().limits.learn(self.size(), &error);
                let [one, other] = self.halves();
                Box::pin(async { tokio::join!(one.commit(), other.commit()) }).await;
            }
            Err(error) => self.answer_each(|_| Err(error.clone())),
        }
    }

    /// As long as the most patient member has.
    fn options(&self) -> CallOptions {
        let deadlines = self.members.iter().map(|member| member.deadline);
        let latest = deadlines.collect::<Option<Vec<_>>>();
        CallOptions::new(match latest.and_then(|all| all.into_iter().max()) {
            Some(latest) => Timeout::After(latest.saturating_duration_since(Instant::now())),
            None => Timeout::Infinity,
        })
    }

    fn size(&self) -> Size {
        let accesses = self.members.iter().map(|member| &member.access);
        accesses.fold(Size::default(), Size::plus)
    }

    fn halves(&mut self) -> [Self; 2] {
        let rest = self.members.split_off(self.members.len() / 2);
        let members = [std::mem::take(&mut self.members), rest];
        members.map(|members| Self {
            group: self.group.clone(),
            members,
        })
    }

    /// Gives each member its reply and ends its claims.
    fn answer_each(&mut self, mut reply: impl FnMut(&TxnRequest) -> Result<TxnResponse>) {
        let now = Instant::now();
        let members = std::mem::take(&mut self.members);
        let mut state = self.group.state();
        for member in &members {
            state.claims.release(&member.access.keys);
            state.slots.answered(member.arrived, now);
        }
        drop(state);
        for member in members {
            let reply = reply(&member.txn);
            // The caller may be gone.
            drop(member.caller.send(reply));
        }
    }
}

/// Where a runtime ends, the task of the request is dropped with it.
impl Drop for Batch {
    fn drop(&mut self) {
        if !self.members.is_empty() {
            self.answer_each(|_| Err(abandoned()));
        }
    }
}
