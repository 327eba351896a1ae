//! One simulated process: a runtime and a clock of its own.
//!
//! The clock is paused, so it moves only when this file lets it: up to a time, and no further once the process has said
//! something. A process that is stopped is a runtime that isn't run; when it goes on, its clock jumps. A crash drops the
//! runtime with all that is in it.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use etcd_lock_core::Result;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance, sleep_until};

use super::hub::{Hub, Outgoing, Reply, StreamEnd};

/// Microseconds of the world's clock.
pub(super) type Micros = u64;

/// One life of a process.
pub(super) struct Process {
    pub(super) hub: Arc<Hub>,
    /// The world's time up to which it has run.
    pub(super) horizon: Micros,
    pub(super) calls: BTreeMap<u64, oneshot::Sender<Result<Reply>>>,
    pub(super) streams: BTreeMap<u64, Stream>,
    runtime: Runtime,
    started: Instant,
    born: Micros,
    clock_ppm: u64,
    /// How much further than the world's its clock has come by jumps, in microseconds; how much less, where it stood still.
    shift: i64,
}

/// A stream that a process has open.
pub(super) struct Stream {
    pub(super) end: StreamEnd,
    /// Nothing overtakes on a stream: when the last message of each direction arrives.
    pub(super) up: Micros,
    pub(super) down: Micros,
}

impl Process {
    pub(super) fn start(
        born: Micros,
        clock_ppm: u64,
        program: impl FnOnce(Arc<Hub>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> std::io::Result<Self> {
        let hub = Hub::new();
        let parking = hub.clone();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || parking.parks())
            .build()?;
        let started = {
            let _context = runtime.enter();
            Instant::now()
        };
        runtime.spawn(program(hub.clone()));
        Ok(Self {
            hub,
            horizon: born,
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            runtime,
            started,
            born,
            clock_ppm,
            shift: 0,
        })
    }

    /// Runs until a time of the world, or until the process has said something.
    pub(super) fn run_to(&mut self, until: Micros) -> Vec<Outgoing> {
        let target = self.local(until);
        let hub = &self.hub;
        hub.begin();
        self.runtime.block_on(async {
            let mut sleep = pin!(sleep_until(target));
            let mut over = false;
            poll_fn(|cx| {
                if hub.is_over(cx.waker()) {
                    return Poll::Ready(());
                }
                if !over && sleep.as_mut().poll(cx).is_ready() {
                    over = true;
                    hub.stop_when_idle();
                }
                Poll::Pending
            })
            .await;
        });
        let said = self.hub.take();
        let reached = if said.is_empty() {
            until
        } else {
            self.world(self.inside(Instant::now)).min(until)
        };
        self.horizon = self.horizon.max(reached);
        said
    }

    /// Moves the clock without running anything, as for a process that was stopped until now.
    pub(super) fn jump_to(&mut self, until: Micros) {
        let target = self.local(until);
        self.runtime.block_on(async {
            let mut jump = pin!(advance(target.saturating_duration_since(Instant::now())));
            let mut context = Context::from_waker(Waker::noop());
            // The first poll moves the clock; the rest would let tasks run.
            let _ = jump.as_mut().poll(&mut context);
        });
        self.horizon = self.horizon.max(until);
    }

    /// Lets a time pass at which the clock stood still, as that of a computer that slept.
    pub(super) fn sleep_to(&mut self, until: Micros) {
        let slept = until.saturating_sub(self.horizon) * self.clock_ppm / 1_000_000;
        self.shift -= i64::try_from(slept).unwrap_or(i64::MAX);
        self.hub.slept(Duration::from_micros(slept));
        self.horizon = self.horizon.max(until);
    }

    /// Moves the clock on by so much, at once.
    pub(super) fn jump_by(&mut self, by: Micros) {
        self.shift += i64::try_from(by).unwrap_or(i64::MAX);
        self.jump_to(self.horizon);
    }

    /// Does something that asks for this process's time.
    pub(super) fn inside<T>(&self, ask: impl FnOnce() -> T) -> T {
        let _context = self.runtime.enter();
        ask()
    }

    /// The time that its clock shows.
    pub(super) fn clock(&self) -> Micros {
        let shown = self.inside(Instant::now);
        let passed = shown.saturating_duration_since(self.started).as_micros();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    pub(super) fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    fn local(&self, at: Micros) -> Instant {
        let passed = at.saturating_sub(self.born) * self.clock_ppm / 1_000_000;
        let passed = passed.saturating_add_signed(self.shift);
        self.started + Duration::from_millis(passed.div_ceil(1_000))
    }

    fn world(&self, at: Instant) -> Micros {
        let passed = at.saturating_duration_since(self.started).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX / 2_000_000);
        let passed = passed.saturating_add_signed(-self.shift);
        self.born + passed * 1_000_000 / self.clock_ppm
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Requests and notes that its tasks send while they are dropped reach nobody.
        self.hub.die();
    }
}
