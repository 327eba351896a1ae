//! A client under measurement: a process that reports each cycle on standard output.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// How many callers a client has.
const CALLERS: usize = 2;

/// A program that runs lock cycles until its standard input ends: `PROGRAM [ARGUMENT] ENDPOINTS NAME CALLERS`.
///
/// It prints a line for each event: `cycle` for a whole cycle, `lost` for a session that was lost, `error` with a reason.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    command: Vec<String>,
}

impl Program {
    /// This program itself.
    pub(crate) fn ours() -> Self {
        let program = std::env::current_exe().unwrap();
        Self {
            name: "etcd-lock".to_owned(),
            command: vec![program.to_string_lossy().into_owned(), "cycles".to_owned()],
        }
    }

    /// Starts it.
    pub(crate) fn start(&self, endpoints: &[String]) -> Client {
        let (program, arguments) = self.command.split_first().unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .arg(endpoints.join(","))
            .arg(format!("failover-{}", fastrand::u32(..)))
            .arg(CALLERS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't run {program}: {error}"));
        let events = Events::default();
        let (output, heard) = (child.stdout.take().unwrap(), events.clone());
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                heard.note(line);
            }
        });
        Client { child, events }
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, program) = text.split_once('=').ok_or("NAME=PROGRAM is wanted")?;
        Ok(Self {
            name: name.to_owned(),
            command: vec![program.to_owned()],
        })
    }
}

/// A running client. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    events: Events,
}

impl Client {
    /// How many whole cycles it did since an instant.
    pub(crate) fn cycles_since(&self, since: Instant) -> usize {
        self.events.cycles().filter(|at| *at > since).count()
    }

    /// The longest time without a whole cycle that ended after an instant. Where none ended, until now.
    pub(crate) fn gap(&self, fault: Instant) -> Duration {
        let now = Instant::now();
        let ends = self.events.cycles().chain([now]);
        let mut before = None;
        let mut longest = Duration::ZERO;
        for end in ends {
            if end > fault {
                longest = longest.max(end - before.unwrap_or(fault));
            }
            before = Some(end);
        }
        longest
    }

    /// How many lines with this first word there were.
    pub(crate) fn count(&self, word: &str) -> usize {
        let events = self.events.list();
        let words = events.iter().filter_map(|(_, line)| line.split(' ').next());
        words.filter(|first| *first == word).count()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that a client printed, and when they were read.
#[derive(Clone, Debug, Default)]
struct Events(Arc<Mutex<Vec<(Instant, String)>>>);

impl Events {
    fn note(&self, line: String) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push((Instant::now(), line));
    }

    fn list(&self) -> Vec<(Instant, String)> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }

    fn cycles(&self) -> impl Iterator<Item = Instant> {
        let cycles = self.list().into_iter().filter(|(_, line)| line == "cycle");
        cycles.map(|(at, _)| at)
    }
}
