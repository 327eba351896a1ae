//! Where recorded clients write.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::history::{Fact, Micros, Record, to_lines};

/// How much later than it happens a claim, or the end of a wait or a hold, is noted. etcd looks after watches that are not up to date every 100 ms.
pub const LAG: Duration = Duration::from_millis(300);

/// The time of all processes of this computer, in microseconds.
#[must_use]
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, micros)
}

fn micros(length: Duration) -> Micros {
    Micros::try_from(length.as_micros()).unwrap_or(Micros::MAX)
}

/// Records in memory, or in a file that survives its process.
#[derive(Debug)]
pub struct Journal {
    records: Mutex<Vec<Record>>,
    file: Option<File>,
    /// The beginning of a run on tokio's clock, which is paused: nothing is noted late there.
    started: Option<Instant>,
}

impl Journal {
    /// One in memory.
    #[must_use]
    pub fn in_memory() -> Arc<Self> {
        Self::new(None, None)
    }

    /// One in memory whose time is tokio's and begins now, for a clock that is paused.
    #[must_use]
    pub fn on_paused_clock() -> Arc<Self> {
        Self::new(None, Some(Instant::now()))
    }

    /// One in a new file, a record a line.
    ///
    /// # Errors
    /// When the file can't be created.
    pub fn in_file(path: &Path) -> std::io::Result<Arc<Self>> {
        Ok(Self::new(Some(File::create(path)?), None))
    }

    fn new(file: Option<File>, started: Option<Instant>) -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::default(),
            file,
            started,
        })
    }

    /// The time of its records.
    pub fn now(&self) -> Micros {
        self.started.map_or_else(now, |at| micros(at.elapsed()))
    }

    /// Notes what has just happened.
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn add(&self, fact: Fact) {
        let is_end = matches!(
            fact,
            Fact::Granted { .. }
                | Fact::GaveUp { .. }
                | Fact::Failed { .. }
                | Fact::Claimed { .. }
                | Fact::Lost { .. }
                | Fact::Released { .. }
        );
        let is_late = is_end && self.started.is_none();
        let at = self.now() + if is_late { micros(LAG) } else { 0 };
        let record = Record::new(at, fact);
        if let Some(mut file) = self.file.as_ref() {
            let line = to_lines(std::slice::from_ref(&record)).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        }
        self.lock().push(record);
    }

    /// The records so far.
    pub fn records(&self) -> Vec<Record> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
