//! Checks, and the report of all of them.

use std::fmt;

use etcd_lock::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::exit::{self, SOFTWARE, chain};

/// What a check came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Ok,
    Warn,
    /// With the exit status.
    Fail(u8),
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Check {
    subject: String,
    verdict: Verdict,
    text: String,
    /// What to do.
    advice: Option<String>,
    /// Numbers, for machines.
    details: Value,
}

impl Check {
    pub(super) fn ok(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            verdict: Verdict::Ok,
            text: text.into(),
            advice: None,
            details: Value::Null,
        }
    }

    pub(super) fn warn(subject: &str, text: impl Into<String>, advice: &str) -> Self {
        Self {
            verdict: Verdict::Warn,
            advice: Some(advice.to_owned()),
            ..Self::ok(subject, text)
        }
    }

    pub(super) fn fail(
        subject: &str,
        status: u8,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Fail(status),
            advice: Some(advice.into()),
            ..Self::ok(subject, text)
        }
    }

    /// What failed because of an error, with the exit status for its kind.
    pub(super) fn error(subject: &str, what: &str, error: &Error, advice: &str) -> Self {
        let status = match error.kind() {
            // No lock was asked for.
            ErrorKind::Busy
            | ErrorKind::LeaseNotFound
            | ErrorKind::LockTimeout
            | ErrorKind::Lost => SOFTWARE,
            kind => exit::status(kind),
        };
        Self::fail(subject, status, format!("{what}{}", chain(error)), advice)
    }

    pub(super) fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    fn json(&self) -> Value {
        let (verdict, status) = match self.verdict {
            Verdict::Ok => ("ok", 0),
            Verdict::Warn => ("warn", 0),
            Verdict::Fail(status) => ("fail", status),
        };
        json!({
            "subject": self.subject,
            "verdict": verdict,
            "status": status,
            "text": self.text,
            "advice": self.advice,
            "details": self.details,
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail(_) => "FAIL",
        };
        // What others say may have several lines.
        let text = self.text.replace('\n', " ");
        write!(f, "{verdict:<4}  {}: {text}", self.subject)?;
        match &self.advice {
            Some(advice) => writeln!(f, ". To do: {advice}"),
            None => writeln!(f),
        }
    }
}

/// All checks, in their order.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Check>);

impl Report {
    pub(super) fn add(&mut self, check: Check) {
        self.0.push(check);
    }

    /// The exit status: that of the first check that failed.
    pub(super) fn status(&self) -> u8 {
        let mut statuses = self.0.iter().filter_map(|check| match check.verdict {
            Verdict::Fail(status) => Some(status),
            Verdict::Ok | Verdict::Warn => None,
        });
        statuses.next().unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        let checks: Vec<_> = self.0.iter().map(Check::json).collect();
        json!({ "status": self.status(), "checks": checks })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|check| check.fmt(f))
    }
}
