//! Flags that say where the etcd is and how to connect to it, each with the environment variable of `etcdctl`.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use etcd_lock::grpc::{Config, ExposeSecret, SecretString, parse_duration};
use etcd_lock::memory::MemoryEtcd;
use etcd_lock::{Client, Error, connect};

use crate::exit::{Failure, say};

/// How long a call may take where nobody says otherwise, as for `etcdctl`.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the etcd is, and how to connect to it. A flag counts more than its variable.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The etcd's members, separated by commas [env: ETCD_LOCK_ENDPOINTS, ETCDCTL_ENDPOINTS] [default: 127.0.0.1:2379]
    #[arg(long, global = true, value_name = "LIST", value_parser = NonEmptyStringValueParser::new())]
    endpoints: Option<String>,
    /// Use an etcd in memory that lives as long as this program
    #[arg(long, global = true, conflicts_with_all = ["endpoints", "cacert", "cert", "client_key", "server_name", "user", "password_file"])]
    embedded: bool,
    /// Certificates of the authorities to trust, as PEM [env: ETCDCTL_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Client certificate, as PEM [env: ETCDCTL_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Key of the client certificate, as PEM [env: ETCDCTL_KEY]
    // `unlock` has an argument of this name.
    #[arg(id = "client_key", long = "key", global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Name in the servers' certificates, instead of the endpoint's host [env: ETCD_LOCK_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME")]
    server_name: Option<String>,
    /// User to log in as; its password is in ETCDCTL_PASSWORD or a file [env: ETCDCTL_USER]
    #[arg(long, global = true, value_name = "NAME", value_parser = secret)]
    user: Option<SecretString>,
    /// File with the user's password [env: ETCD_LOCK_PASSWORD_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How long an attempt to connect may take [env: ETCDCTL_DIAL_TIMEOUT] [default: 2s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    dial_timeout: Option<String>,
    /// How long etcd may take to answer [env: ETCDCTL_COMMAND_TIMEOUT] [default: 5s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    command_timeout: Option<String>,
}

/// An etcd that was connected to.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    /// How long it may take to answer.
    pub(crate) timeout: Duration,
}

impl Connection {
    /// A client of the etcd that is meant. Nothing is sent yet.
    pub(crate) fn open(&self) -> Result<Connected, Failure> {
        let config = self.config()?;
        let client = if self.embedded {
            etcd_lock::in_memory(MemoryEtcd::new())
        } else {
            self.warn();
            connect(config.endpoints(), config.options().clone())?
        };
        let timeout = config.command_timeout().unwrap_or(COMMAND_TIMEOUT);
        Ok(Connected { client, timeout })
    }

    /// The endpoints that are meant, as far as that can be said.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let config = self.config();
        config.map_or_else(|_| Vec::new(), |config| config.endpoints().to_vec())
    }

    fn config(&self) -> Result<Config, Error> {
        Config::from_variables(|name| match self.embedded {
            true if name != "ETCDCTL_COMMAND_TIMEOUT" => None,
            _ => self.variable(name),
        })
    }

    /// The value of a variable: that of its flag where the flag is given, else the one in the environment.
    fn variable(&self, name: &str) -> Option<OsString> {
        let flag = match name {
            "ETCD_LOCK_ENDPOINTS" => self.endpoints.as_ref().map(OsString::from),
            "ETCD_LOCK_PASSWORD_FILE" => self.password_file.as_ref().map(OsString::from),
            "ETCD_LOCK_SERVER_NAME" => self.server_name.as_ref().map(OsString::from),
            "ETCDCTL_CACERT" => self.cacert.as_ref().map(OsString::from),
            "ETCDCTL_CERT" => self.cert.as_ref().map(OsString::from),
            "ETCDCTL_COMMAND_TIMEOUT" => self.command_timeout.as_ref().map(OsString::from),
            "ETCDCTL_DIAL_TIMEOUT" => self.dial_timeout.as_ref().map(OsString::from),
            "ETCDCTL_KEY" => self.key.as_ref().map(OsString::from),
            "ETCDCTL_PASSWORD" if self.password_file.is_some() => return None,
            "ETCDCTL_USER" => self.user().map(OsString::from),
            _ => None,
        };
        flag.or_else(|| env::var_os(name))
    }

    fn user(&self) -> Option<&str> {
        self.user.as_ref().map(ExposeSecret::expose_secret)
    }

    fn warn(&self) {
        if self.user().is_some_and(|user| user.contains(':')) {
            say(
                "other users of this machine may see the password in its list of processes: give it in a file",
            );
        }
    }
}

/// Only whether it is one: it is read with the variables.
fn duration(text: &str) -> Result<String, Error> {
    parse_duration(text).map(|_| text.to_owned())
}

fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}
