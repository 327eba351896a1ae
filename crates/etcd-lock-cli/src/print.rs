//! Results, for people and for machines.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use etcd_lock::session::QueueEntry;
use etcd_lock::{LockName, Owner};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::args::{Format, Output};

/// A result in both of its forms.
#[derive(Debug)]
pub(crate) struct View {
    /// Lines for people.
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl View {
    pub(crate) fn new(text: &impl fmt::Display, json: Value) -> Self {
        let text = text.to_string();
        Self { text, json }
    }
}

/// Prints a result to standard output.
pub(crate) fn print(format: Format, view: &View) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match format.output {
        Output::Text => write!(stdout, "{}", view.text)?,
        Output::Json => writeln!(stdout, "{}", view.json)?,
    }
    stdout.flush()
}

/// A part of a terminal that is drawn anew. The template is indicatif's, and known to be one.
pub(crate) fn bar(target: ProgressDrawTarget, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A name or a key for machines: the bytes as they are, where the text for people escapes some. Those of this program are
/// UTF-8.
pub(crate) fn raw(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}

/// An entry of a queue for machines.
pub(crate) fn entry(entry: &QueueEntry) -> Value {
    let owner = entry.owner.as_ref().map(owner);
    json!({
        "key": raw(entry.key.as_bytes()),
        "lease": entry.lease.to_string(),
        "token": entry.create_revision.get(),
        "ends_in_seconds": entry.remaining.map(|left| left.as_secs()),
        "owner": owner,
    })
}

fn owner(owner: &Owner) -> Value {
    let since = owner
        .since
        .and_then(|since| jiff::Timestamp::try_from(since).ok());
    json!({
        "host": owner.host,
        "pid": owner.pid,
        "user": owner.user,
        "note": owner.note,
        "since": since.map(|since| since.to_string()),
    })
}

/// An entry of a queue in a line for people.
pub(crate) struct Line<'a>(pub(crate) &'a QueueEntry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueueEntry {
            lease,
            owner,
            remaining,
            ..
        } = self.0;
        write!(f, "{}", Who(owner.as_ref()))?;
        let since = owner.as_ref().and_then(|owner| owner.since);
        if let Some(passed) = since.and_then(|since| since.elapsed().ok()) {
            write!(f, ", queued {} ago", Age(passed))?;
        }
        write!(f, ", lease {lease}")?;
        match remaining {
            Some(left) => write!(f, " ends in {} s unless it is renewed", left.as_secs()),
            None => f.write_str(" has just ended"),
        }
    }
}

/// The owner of an entry, for people.
pub(crate) struct Who<'a>(pub(crate) Option<&'a Owner>);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Owner {
            host,
            pid,
            user,
            note,
            ..
        }) = self.0
        else {
            return f.write_str("a client that says nothing of itself");
        };
        write!(f, "{}@{}, process {pid}", visible(user), visible(host))?;
        match note.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", visible(note)),
        }
    }
}

/// A text without what could change a terminal: anybody may have written it.
fn visible(text: &str) -> String {
    let visible = text.chars().map(|char| match char {
        '"' | '\'' | '\\' => char.to_string(),
        _ => char.escape_debug().to_string(),
    });
    visible.collect()
}

/// A duration to the whole second.
pub(crate) struct Age(pub(crate) Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs().try_into().unwrap_or(i64::MAX);
        write!(f, "{:#}", jiff::SignedDuration::from_secs(seconds))
    }
}

/// A name as a word of a shell's line.
pub(crate) fn shell(name: &LockName) -> String {
    let text = String::from_utf8_lossy(name.as_bytes());
    // Arguments have no zero bytes, so that each name of this program can be quoted.
    shlex::try_quote(&text).map_or_else(|_| name.to_string(), Into::into)
}
