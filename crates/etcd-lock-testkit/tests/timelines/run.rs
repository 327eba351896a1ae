//! What the record of a run says of waits, holds and entries.

use etcd_lock_testkit::history::{Entry, Fact, Micros, Record};

/// The record of a run.
pub(crate) struct Run(Vec<Record>);

/// One wait for the lock, and the hold that followed.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) process: u32,
    pub(crate) grant: u64,
    pub(crate) asked: Micros,
    pub(crate) granted: Micros,
    /// The release or the loss, if it came to one.
    pub(crate) ended: Option<Micros>,
    pub(crate) entry: Entry,
    /// The fencing token, as it is written.
    pub(crate) token: String,
}

/// An entry in etcd, from its creation to its deletion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) created: Change,
    pub(crate) deleted: Change,
}

/// A change in etcd.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at: Micros,
    pub(crate) revision: i64,
}

impl Run {
    pub(crate) const fn new(history: Vec<Record>) -> Self {
        Self(history)
    }

    /// When something happened first.
    pub(crate) fn when(&self, is_it: impl Fn(&Fact) -> bool) -> Micros {
        self.find(|fact| is_it(fact).then_some(())).0
    }

    /// The first of what a fact may say, and when it happened.
    pub(crate) fn find<T>(&self, say: impl Fn(&Fact) -> Option<T>) -> (Micros, T) {
        self.all(say).next().expect("it is part of the run")
    }

    /// All of it.
    pub(crate) fn all<T>(
        &self,
        say: impl Fn(&Fact) -> Option<T>,
    ) -> impl Iterator<Item = (Micros, T)> {
        let said = move |record: &Record| Some((record.at, say(&record.fact)?));
        self.0.iter().filter_map(said)
    }

    /// The waits that were granted the lock, in the order of the grants.
    pub(crate) fn turns(&self) -> Vec<Turn> {
        let granted = self.all(|fact| match fact {
            Fact::Granted {
                client,
                wait,
                grant,
                entry,
                handover,
                ..
            } => Some((client.process, *wait, *grant, entry.clone(), *handover)),
            _ => None,
        });
        let turn =
            |(granted, (process, wait, grant, entry, handover)): (_, (_, _, _, Entry, _))| Turn {
                process,
                grant,
                asked: self
                    .when(|fact| matches!(fact, Fact::Asked { wait: it, .. } if *it == wait)),
                granted,
                ended: self.ended(grant),
                token: format!("{}.{handover}", entry.created),
                entry,
            };
        granted.map(turn).collect()
    }

    /// The life of an entry.
    pub(crate) fn life(&self, entry: &Entry) -> Life {
        let (created, ()) = self.find(|fact| match fact {
            Fact::Entered { entry: it, .. } if it == entry => Some(()),
            _ => None,
        });
        let (deleted, revision) = self.find(|fact| match fact {
            Fact::Left {
                entry: it,
                revision,
                ..
            } if it == entry => Some(*revision),
            _ => None,
        });
        Life {
            created: Change {
                at: created,
                revision: entry.created,
            },
            deleted: Change {
                at: deleted,
                revision,
            },
        }
    }

    fn ended(&self, grant: u64) -> Option<Micros> {
        let mut ends = self.all(|fact| match fact {
            Fact::Released { grant: it, .. } | Fact::Lost { grant: it, .. } if *it == grant => {
                Some(())
            }
            _ => None,
        });
        ends.next().map(|(at, ())| at)
    }
}
