//! Asking holders whether they hold their locks: whenever something has changed, and every tenth of a second.

use std::sync::Weak;

use super::notes::Held;
use super::process::Micros;
use super::world::World;
use crate::history::{Client, Fact, Record};

/// How long a holder goes unasked.
const PERIOD: Micros = 100_000;

/// A holder that can be asked.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) client: Client,
    pub(super) grant: u64,
    pub(super) held: Weak<dyn Held>,
}

impl World<'_> {
    /// Asks all holders, where that is due. One that stands still isn't asked: it can't act on what it claims. A process answers by its own clock at the
    /// time that it has come to.
    pub(super) fn ask_holders(&mut self) {
        let due = std::mem::take(&mut self.claims_due) || self.asked_at + PERIOD <= self.now;
        if !due || self.holds.is_empty() {
            return;
        }
        self.asked_at = self.now;
        let mut answers = Vec::new();
        for hold in &self.holds {
            let host = &self.hosts[hold.client.process as usize];
            let Some(process) = host.process.as_ref().filter(|_| !host.paused) else {
                continue;
            };
            if let Some(held) = hold.held.upgrade() {
                let held = process.inside(|| held.is_held());
                let (client, grant) = (hold.client, hold.grant);
                let fact = Fact::Claimed {
                    client,
                    grant,
                    held,
                };
                let at = process.horizon.max(self.now);
                answers.push(Record::observed(at, fact).with_clock(process.clock()));
            }
        }
        for answer in answers {
            self.records.add(answer);
        }
    }
}
