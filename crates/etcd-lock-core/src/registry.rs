//! Connections by name, as `eetcd:open/close/info` keeps them.

use std::collections::BTreeMap;
use std::sync::{OnceLock, PoisonError, RwLock};

use crate::{Client, Error, ErrorKind, Result};

/// Clients by name. [`Registry::global`] is the one that a [`Context`](crate::Context) made from a name looks into.
///
/// A client stays open for as long as somebody has a clone of it: closing a name only takes the name away.
#[derive(Debug, Default)]
pub struct Registry(RwLock<BTreeMap<String, Client>>);

impl Registry {
    /// An empty registry.
    #[must_use]
    pub const fn new() -> Self {
        Self(RwLock::new(BTreeMap::new()))
    }

    /// The registry of this process.
    #[must_use]
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(Self::new)
    }

    /// Gives a client a name.
    ///
    /// # Errors
    /// `AlreadyOpen` when the name is in use: the client that has it keeps it.
    pub fn open(&self, name: impl Into<String>, client: Client) -> Result<()> {
        let name = name.into();
        let mut clients = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if clients.contains_key(&name) {
            return Err(Error::new(
                ErrorKind::AlreadyOpen,
                format!(
                    "a connection named {name:?} is open already: close it first, or pick another name"
                ),
            ));
        }
        clients.insert(name, client);
        Ok(())
    }

    /// Takes a name away and returns the client that had it.
    ///
    /// # Errors
    /// `NotOpen` when there is none.
    pub fn close(&self, name: &str) -> Result<Client> {
        let mut clients = self.0.write().unwrap_or_else(PoisonError::into_inner);
        clients.remove(name).ok_or_else(|| not_open(name))
    }

    /// The client of a name.
    ///
    /// # Errors
    /// `NotOpen` when there is none.
    pub fn client(&self, name: &str) -> Result<Client> {
        let clients = self.0.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(name).cloned().ok_or_else(|| not_open(name))
    }

    /// All names and their clients, in order of the names.
    #[must_use]
    pub fn info(&self) -> Vec<(String, Client)> {
        let clients = self.0.read().unwrap_or_else(PoisonError::into_inner);
        clients
            .iter()
            .map(|(name, client)| (name.clone(), client.clone()))
            .collect()
    }
}

fn not_open(name: &str) -> Error {
    Error::new(
        ErrorKind::NotOpen,
        format!("no connection named {name:?} is open: open it first"),
    )
}
