//! The work on watches by the clock: etcd visits those that are behind, and tells of progress where that was asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_lock_proto::etcdserverpb as pb;

use super::streams::{StreamId, WatchRef, Watches};
use crate::model::Model;

/// How often etcd visits the watches that are behind (`watchResyncPeriod` in `watchable_store.go`).
const VISIT: Duration = Duration::from_millis(100);

/// How often it tells of progress (`progressReportInterval` in `api/v3rpc/watch.go`, to which etcd adds up to a tenth).
const REPORT: Duration = Duration::from_secs(600);

/// The visits and reports that are due, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Visits {
    behind: BTreeSet<WatchRef>,
    visit: Duration,
    reports: BTreeSet<(Duration, StreamId)>,
}

impl Visits {
    /// A stream is to be told of progress, counted from when it was opened.
    pub(super) fn report(&mut self, stream: StreamId, opened: Duration, now: Duration) {
        if !self.reports.iter().any(|(_, other)| *other == stream) {
            let at = opened + next_multiple(now.saturating_sub(opened), REPORT);
            self.reports.insert((at, stream));
        }
    }

    pub(super) fn forget(&mut self, stream: StreamId) {
        self.behind.retain(|(other, _)| *other != stream);
        self.reports.retain(|(_, other)| *other != stream);
    }
}

impl Watches {
    /// When something is due.
    pub(in crate::model) fn next_visit(&self) -> Option<Duration> {
        let visit = (!self.visits.behind.is_empty()).then_some(self.visits.visit);
        let report = self.visits.reports.first().map(|(at, _)| *at);
        visit.into_iter().chain(report).min()
    }

    /// Whether a watch of a stream is behind.
    pub(super) fn is_behind(&self, stream: StreamId) -> bool {
        let mut behind = self.visits.behind.iter();
        behind.any(|watch| watch.0 == stream && self.is_there(*watch))
    }

    pub(super) fn fall_behind(&mut self, watch: WatchRef, now: Duration) {
        if self.visits.behind.is_empty() {
            self.visits.visit = next_multiple(now, VISIT);
        }
        if let Some(its) = self.get_mut(watch) {
            its.behind = true;
            self.visits.behind.insert(watch);
        }
    }

    /// Whether a watch was neither cancelled nor replaced since it fell behind.
    fn is_there(&self, (stream, id): WatchRef) -> bool {
        let watch = self
            .stream(stream)
            .and_then(|stream| stream.watches.get(&id));
        watch.is_some_and(|watch| watch.behind)
    }
}

impl Model {
    /// Does what is due by now.
    pub(in crate::model) fn visit_watches(&mut self) {
        if self.watches.visits.visit <= self.now {
            for watch in std::mem::take(&mut self.watches.visits.behind) {
                if self.watches.is_there(watch) {
                    self.catch_up(watch);
                }
            }
        }
        while let Some(&(at, stream)) = self.watches.visits.reports.first()
            && at <= self.now
        {
            self.watches.visits.reports.pop_first();
            self.watches.visits.reports.insert((at + REPORT, stream));
            self.report_progress(stream);
        }
    }

    /// Tells a watch of all that it has missed, in one reply; or that it is over, if that is compacted.
    pub(super) fn catch_up(&mut self, (stream, id): WatchRef) {
        let Some(watch) = self.watches.get_mut((stream, id)) else {
            return;
        };
        watch.behind = false;
        let watch = watch.clone();
        if watch.next < self.history.compacted() {
            self.watches.remove(stream, id);
            self.watches.keep_id(stream, id);
            let reply = self.compacted_reply(id);
            return self.watches.push(stream, reply);
        }
        let missed = self.history.since(&watch.range, watch.next);
        let events = missed.iter().filter_map(|change| watch.event(change));
        let header = self.header();
        self.watches
            .tell_one((stream, id), events.collect(), header);
    }

    /// Tells the watches of a stream that asked for it how far they are, but not those that are behind or were told of
    /// something since.
    fn report_progress(&mut self, stream: StreamId) {
        let header = self.header();
        let Some(its) = self.watches.stream_mut(stream) else {
            return;
        };
        let mut silent = Vec::new();
        for (id, watch) in &mut its.watches {
            if watch.silent == Some(true) && !watch.behind {
                silent.push(*id);
            }
            watch.silent = watch.silent.map(|_| true);
        }
        for watch_id in silent {
            let reply = pb::WatchResponse {
                header,
                watch_id,
                ..pb::WatchResponse::default()
            };
            self.watches.push(stream, reply);
        }
    }
}

/// The first multiple of a step that is greater.
fn next_multiple(after: Duration, step: Duration) -> Duration {
    let steps = after.as_nanos() / step.as_nanos() + 1;
    step * u32::try_from(steps).unwrap_or(u32::MAX)
}
