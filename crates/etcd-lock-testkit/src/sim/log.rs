//! The trace of a run, line by line.

use std::fmt::{self, Write};

use super::process::Micros;

/// The trace of a run: its hash always, its lines on demand.
#[derive(Debug)]
pub(super) struct Log {
    hash: Hash,
    lines: Option<Vec<String>>,
}

impl Log {
    pub(super) fn new(keep_lines: bool) -> Self {
        Self {
            hash: Hash(0xcbf2_9ce4_8422_2325),
            lines: keep_lines.then(Vec::new),
        }
    }

    pub(super) fn add(&mut self, at: Micros, what: fmt::Arguments<'_>) {
        // Hashing can't fail.
        let _ = write!(self.hash, "{at} {what}");
        if let Some(lines) = &mut self.lines {
            let (secs, micros) = (at / 1_000_000, at % 1_000_000);
            lines.push(format!("{secs:>3}.{micros:06} {what}"));
        }
    }

    pub(super) fn into_parts(self) -> (u64, Vec<String>) {
        (self.hash.0, self.lines.unwrap_or_default())
    }
}

/// FNV-1a: the same in every build, as the standard library's hasher need not be.
#[derive(Debug)]
struct Hash(u64);

impl Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
