//! A grant of etcd's, and what becomes of it when its holder is done: handed on inside the process, or given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{
    CallOptions, LockKey, LockResponse, Result, Revision, Transport, UnlockRequest,
};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::local::{Local, Turn};
use crate::watches::Follower;
use crate::{FencingToken, Session, metrics};

/// A grant of etcd's, which may be handed on between tasks.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) key: LockKey,
    pub(crate) granted_at: Revision,
    created: Revision,
    handovers: u64,
    follower: Follower,
    /// Fenced writes that were sent and not answered: they may still be executed, for as long as the key is there.
    unanswered: AtomicUsize,
    /// Hand-overs since nobody else was known to wait.
    in_a_row: u32,
    /// Finds out whether nobody else waits, in time for when the limit is reached.
    alone: Option<JoinHandle<bool>>,
}

impl Grant {
    /// In a box, since it goes from hand to hand.
    pub(crate) fn new(session: &Session, reply: LockResponse) -> Box<Self> {
        let follower = session.queue().follow(&reply.key);
        Box::new(Self {
            key: reply.key,
            created: reply.create_revision,
            granted_at: reply.header.revision,
            handovers: 0,
            follower,
            unanswered: AtomicUsize::new(0),
            in_a_row: 0,
            alone: None,
        })
    }

    /// A fenced write is about to be sent.
    pub(crate) fn note_sent(&self) {
        self.unanswered.fetch_add(1, SeqCst);
    }

    /// It was answered, or can't be executed any more.
    pub(crate) fn note_answered(&self) {
        self.unanswered.fetch_sub(1, SeqCst);
    }

    /// Whether nothing that was done under it can have an effect any more.
    fn is_settled(&self) -> bool {
        self.unanswered.load(SeqCst) == 0
    }

    pub(crate) fn token(&self) -> FencingToken {
        FencingToken::new(self.created, self.handovers)
    }

    /// Whether nothing was seen that ended it.
    pub(crate) fn is_whole(&self) -> bool {
        self.follower.deleted(self.key.as_bytes()) <= self.created
    }
}

/// The right to hold a lock, with the task's turn among its session's.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) session: Session,
    pub(crate) turn: Turn,
    pub(crate) grant: Box<Grant>,
}

impl Held {
    /// Gives the lock to the next task of the session, or back to etcd.
    pub(crate) async fn release(self) -> Result<()> {
        let Self {
            session,
            turn,
            grant,
        } = self;
        let mut release = Release {
            session,
            grant: Some((grant, turn)),
        };
        if release.may_hand_on().await {
            return release.hand_on().await;
        }
        release.finish().await
    }
}

/// Gives back a grant that was left for a waiter when there is none any more.
pub(crate) async fn release_unclaimed(session: &Session, local: Arc<Local>) -> Result<()> {
    if local.is_waited_for() {
        return Ok(());
    }
    let Some(turn) = local.turn_now() else {
        return Ok(());
    };
    let Some(grant) = turn.take_left() else {
        return Ok(());
    };
    let release = Release {
        session: session.clone(),
        grant: Some((grant, turn)),
    };
    release.finish().await
}

/// A release under way, which is seen to its end in the background when it fails or is dropped: a grant of unknown state
/// would be found again by the next attempt, and get the same token twice.
struct Release {
    session: Session,
    /// The turn keeps what the tasks share, so that a new [`Mutex`](crate::Mutex) of this name finds it and waits.
    grant: Option<(Box<Grant>, Turn)>,
}

impl Release {
    /// Whether the next task of the session may have the lock without anybody else being passed over too often.
    async fn may_hand_on(&mut self) -> bool {
        let Some((grant, turn)) = &mut self.grant else {
            return false;
        };
        let limit = self.session.handover_limit();
        let wanted = turn.local().is_waited_for() && limit > 0;
        if !wanted || !grant.is_settled() || !self.session.is_alive() {
            return false;
        }
        if grant.in_a_row < limit {
            return true;
        }
        let alone = match &mut grant.alone {
            Some(alone) => alone.await.unwrap_or(false),
            None => false,
        };
        grant.alone = None;
        grant.in_a_row = 0;
        alone
    }

    /// Leaves the grant to the next task.
    async fn hand_on(mut self) -> Result<()> {
        let Some((mut grant, turn)) = self.grant.take() else {
            return Ok(());
        };
        metrics::handed_on();
        grant.handovers += 1;
        grant.in_a_row += 1;
        if grant.in_a_row == self.session.handover_limit().div_ceil(8) {
            let alone = is_alone(self.session.clone(), grant.key.clone());
            grant.alone = Some(self.session.runtime().spawn(alone));
        }
        let local = turn.hand_on(grant);
        // The last waiter may have given up just before.
        release_unclaimed(&self.session, local).await
    }

    /// Gives the grant back to etcd. The turn ends when that is known to be done.
    async fn finish(mut self) -> Result<()> {
        if let Some((grant, _)) = &self.grant {
            if grant.is_settled() && self.session.is_alive() {
                self.session.queue().note_over(&grant.key, grant.created);
            }
            unlock(&self.session, grant).await?;
        }
        self.grant = None;
        Ok(())
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some((grant, turn)) = self.grant.take() {
            let session = self.session.clone();
            self.session.runtime().spawn(async move {
                insist(session, grant).await;
                drop(turn);
            });
        }
    }
}

/// Whether ours is the only key below the lock's name.
async fn is_alone(session: Session, key: LockKey) -> bool {
    let Some((name, _)) = key.parts() else {
        return false;
    };
    let count = RangeRequest::prefix(name.queue_prefix()).count_only();
    let reply = session
        .transport()
        .range(count, CallOptions::default())
        .await;
    reply.is_ok_and(|reply| reply.count == 1)
}

/// Releases until it is done, or the session is lost and the lease does it.
async fn insist(session: Session, grant: Box<Grant>) {
    let mut backoff = Backoff::new();
    while session.may_live() {
        match unlock(&session, &grant).await {
            Ok(()) => break,
            Err(error) => tracing::debug!(%error, "can't release a lock, trying again"),
        }
        backoff.pause().await;
    }
}

async fn unlock(session: &Session, grant: &Grant) -> Result<()> {
    let request = UnlockRequest::new(grant.key.clone()).with_create_revision(grant.created);
    session
        .transport()
        .unlock(request, CallOptions::default())
        .await
        .map(|_| ())
}
