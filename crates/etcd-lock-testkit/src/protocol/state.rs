//! The world of the model at one moment, and the steps that it can take.

use super::Bug;
use super::process::{Call, Phase, Process, granted};
use super::server::{Reply, Request, Revision, Server};

/// The world at one moment.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct State {
    pub(super) server: Server,
    pub(super) processes: Vec<Process>,
    pub(super) failures: u8,
    pub(super) expiries: u8,
    /// How many processes, from the first on, are sessions of one client.
    pub(super) one_client: usize,
}

/// A step of one process, or of what happens to it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Action {
    Enter(usize),
    /// The server does what the process waits for.
    Execute(usize),
    /// The server does what nobody waits for any more.
    ExecuteLate(usize, Request),
    /// A request that nobody waits for is lost.
    Lose(usize, Request),
    Reply(usize),
    Fail(usize),
    Repeat(usize),
    GiveUp(usize),
    /// The one before it has gone.
    BecomeFirst(usize),
    /// Those before it are of its client, and their holds are over.
    TakeOver(usize),
    BeTold(usize),
    Write(usize),
    Release(usize),
    /// It finds an entry under its key that nobody waits for, and deletes it.
    TidyUp(usize),
    Notice(usize),
    Expire(usize),
}

impl State {
    /// What a process, its network and the server do when nothing goes wrong but the time it takes.
    pub(super) fn steps(&self, number: usize, actions: &mut Vec<Action>) {
        let process = &self.processes[number];
        let entry = self.server.entries[number];
        match (process.call, process.phase) {
            (Some(Call::Asked(_)), _) => actions.push(Action::Execute(number)),
            (Some(Call::Answered(_)), _) => actions.push(Action::Reply(number)),
            (None, Phase::Idle) => {
                if process.attempts > 0 {
                    actions.push(Action::Enter(number));
                }
                if process.in_doubt && entry.is_some() {
                    actions.push(Action::TidyUp(number));
                }
            }
            (None, Phase::Waiting(created)) if self.server.is_first(number, created) => {
                actions.push(Action::BecomeFirst(number));
            }
            (None, Phase::Waiting(created)) if self.is_passed_on(number, created) => {
                actions.push(Action::TakeOver(number));
            }
            (None, Phase::Next(_)) => actions.push(Action::BeTold(number)),
            (None, Phase::Holding { may_write, .. }) => {
                if may_write {
                    actions.push(Action::Write(number));
                }
                actions.push(Action::Release(number));
            }
            _ => {}
        }
        if process
            .stands()
            .is_some_and(|created| entry != Some(created))
        {
            actions.push(Action::Notice(number));
        }
        self.late_steps(number, actions);
    }

    fn late_steps(&self, number: usize, actions: &mut Vec<Action>) {
        let late = &self.processes[number].late;
        for (place, request) in late.iter().enumerate() {
            let is_copy = place > 0 && late[place - 1] == *request;
            // The server tidies up after the request that it is about.
            let must_wait = *request == Request::Sweep && late.contains(&Request::Enter);
            if !is_copy && !must_wait {
                actions.push(Action::ExecuteLate(number, *request));
            }
        }
    }

    pub(super) fn faults(&self, number: usize, actions: &mut Vec<Action>) {
        let process = &self.processes[number];
        if matches!(
            process.phase,
            Phase::Entering { dropped: false } | Phase::Waiting(_) | Phase::Next(_)
        ) {
            actions.push(Action::GiveUp(number));
        }
        if self.failures > 0 && process.call.is_some() {
            actions.push(Action::Fail(number));
            if process.call == Some(Call::Asked(Request::Enter)) {
                actions.push(Action::Repeat(number));
            }
        }
        if self.expiries > 0 && self.server.leases[number] {
            actions.push(Action::Expire(number));
        }
        for (place, request) in process.late.iter().enumerate() {
            if place == 0 || process.late[place - 1] != *request {
                actions.push(Action::Lose(number, *request));
            }
        }
    }

    pub(super) fn act(&mut self, action: Action, bug: Option<Bug>) {
        match action {
            Action::Execute(number) => self.execute(number, bug),
            Action::Reply(number) => self.reply(number),
            Action::Enter(number) => self.processes[number].enter(),
            Action::GiveUp(number) => self.processes[number].give_up(bug),
            Action::BecomeFirst(number) | Action::TakeOver(number) | Action::BeTold(number) => {
                self.advance(number);
            }
            Action::Write(number) => self.processes[number].write(),
            Action::Release(number) => self.processes[number].release(bug),
            Action::TidyUp(number) => self.tidy_up(number),
            Action::Notice(number) => self.notice(number),
            fault => self.go_wrong(fault, bug),
        }
    }

    fn go_wrong(&mut self, fault: Action, bug: Option<Bug>) {
        match fault {
            Action::ExecuteLate(number, request) => {
                self.take_late(number, request);
                self.ask(number, request, bug);
            }
            Action::Lose(number, request) => self.take_late(number, request),
            Action::Fail(number) => {
                self.failures -= 1;
                self.processes[number].fail(bug);
            }
            Action::Repeat(number) => {
                self.failures -= 1;
                self.processes[number].repeat(bug);
            }
            Action::Expire(number) => {
                self.expiries -= 1;
                self.server.end_lease(number);
            }
            _ => {}
        }
    }

    fn execute(&mut self, number: usize, bug: Option<Bug>) {
        if let Some(Call::Asked(request)) = self.processes[number].call {
            let reply = self.ask(number, request, bug);
            self.processes[number].call = Some(Call::Answered(reply));
        }
    }

    fn ask(&mut self, number: usize, request: Request, bug: Option<Bug>) -> Reply {
        let holds = match request {
            Request::Write(created) => self.may_write(number, created),
            _ => true,
        };
        self.server.execute(number, request, holds, bug)
    }

    fn reply(&mut self, number: usize) {
        if let Some(Call::Answered(reply)) = self.processes[number].call {
            self.processes[number].hear(reply);
        }
        self.end_with_lease(number);
    }

    fn tidy_up(&mut self, number: usize) {
        if let Some(created) = self.server.entries[number] {
            self.processes[number].leave(created);
        }
    }

    fn notice(&mut self, number: usize) {
        self.processes[number].notice();
        self.end_with_lease(number);
    }

    fn advance(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.phase = match process.phase {
            Phase::Waiting(created) => Phase::Next(created),
            Phase::Next(created) => granted(created),
            other => other,
        };
    }

    /// A process whose lease has ended and that has nothing to do is told so, and begins nothing more.
    fn end_with_lease(&mut self, number: usize) {
        let process = &mut self.processes[number];
        if process.phase == Phase::Idle && !self.server.leases[number] {
            process.attempts = 0;
        }
    }

    fn take_late(&mut self, number: usize, request: Request) {
        let late = &mut self.processes[number].late;
        if let Some(place) = late.iter().position(|other| *other == request) {
            late.remove(place);
        }
    }

    /// Nothing more happens by itself: at most a lease may end.
    pub(super) fn is_quiet(&self) -> bool {
        let mut actions = Vec::new();
        for number in 0..self.processes.len() {
            self.steps(number, &mut actions);
        }
        actions.is_empty()
    }

    pub(super) fn holds_are_true(&self) -> bool {
        let mut processes = self.processes.iter().enumerate();
        processes.all(|(number, process)| {
            let holds = process.holds().filter(|_| self.server.leases[number]);
            holds.is_none_or(|created| self.is_its_turn(number, created))
        })
    }

    /// Somebody holds the lock whose predecessor's entry is there.
    pub(super) fn is_ahead_of_server(&self) -> bool {
        let mut processes = self.processes.iter().enumerate();
        processes.any(|(number, process)| {
            let holds = process.holds();
            holds.is_some_and(|created| self.is_passed_on(number, created))
        })
    }

    /// Whether an entry is there, and those before it are over, as its client knows.
    fn is_its_turn(&self, number: usize, created: Revision) -> bool {
        let is_there = self.server.entries[number] == Some(created);
        is_there && (self.server.is_first(number, created) || self.is_passed_on(number, created))
    }

    /// Whether there are entries before one of this revision, and all are over, as its client knows.
    fn is_passed_on(&self, number: usize, created: Revision) -> bool {
        let entries = self.server.entries.iter().enumerate();
        let mut before = entries.filter(|(_, entry)| entry.is_some_and(|of| of < created));
        let is_over = |(other, entry): (usize, &Option<Revision>)| {
            self.are_together(number, other) && self.processes[other].over == *entry
        };
        before.clone().next().is_some() && before.all(is_over)
    }

    /// Whether it is its turn, and its client has passed the lock on to nobody else.
    fn may_write(&self, number: usize, created: Revision) -> bool {
        let mut processes = self.processes.iter().enumerate();
        self.is_its_turn(number, created)
            && processes.all(|(other, process)| {
                !self.are_together(number, other) || process.holds().is_none_or(|of| of <= created)
            })
    }

    const fn are_together(&self, one: usize, other: usize) -> bool {
        one < self.one_client && other < self.one_client
    }

    pub(super) fn is_contended(&self) -> bool {
        let is_waiting = |process: &Process| matches!(process.phase, Phase::Waiting(_));
        self.processes.iter().any(is_waiting)
            && self.processes.iter().any(|other| other.holds().is_some())
    }

    /// An entry that was made when its caller had gone already.
    pub(super) fn has_stray(&self) -> bool {
        let mut processes = self.processes.iter().zip(&self.server.entries);
        processes.any(|(process, entry)| process.is_done() && entry.is_some())
    }
}
