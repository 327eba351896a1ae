//! Where PEM text comes from.

use std::fs::{self, Metadata};
use std::path::PathBuf;
use std::time::SystemTime;
use std::{fmt, io};

use etcd_lock_core::{Error, Result};
use secrecy::SecretString;

/// A file, or a text that was given. The text isn't printed: it may be a key.
#[derive(Clone, Debug)]
pub(super) enum Source {
    File(PathBuf),
    Text(SecretString),
}

impl Source {
    /// # Errors
    /// `InvalidArgument` when there is no such file, or it can't be read.
    pub(super) fn read(&self) -> Result<SecretString> {
        match self {
            Self::File(file) => match fs::read_to_string(file) {
                Ok(text) => Ok(text.into()),
                Err(error) => Err(unreadable(self, error)),
            },
            Self::Text(text) => Ok(text.clone()),
        }
    }

    /// Something that is another after the file was changed; nothing for a text, and for a file that isn't there.
    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::File(file) => fs::metadata(file).ok().map(|of| Version::new(&of)),
            Self::Text(_) => None,
        }
    }
}

/// As errors name it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Text(_) => f.write_str("the PEM text that was given"),
        }
    }
}

/// The state of a file, as far as its metadata tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Version {
    modified: Option<SystemTime>,
    length: u64,
}

impl Version {
    fn new(of: &Metadata) -> Self {
        Self {
            modified: of.modified().ok(),
            length: of.len(),
        }
    }
}

fn unreadable(source: &Source, error: io::Error) -> Error {
    Error::invalid_argument(format!("can't read {source}")).with_source(error)
}
