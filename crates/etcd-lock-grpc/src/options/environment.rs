//! Options from the environment variables of `etcdctl`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use etcd_lock_core::{Error, Result};
use secrecy::{ExposeSecret, SecretString};

use super::ConnectOptions;
use super::variables::Variables;
use crate::TlsOptions;
use crate::target::Target;

impl ConnectOptions {
    /// Reads the environment variables that `etcdctl` reads: a machine that is set up for it needs nothing else. A variable
    /// that is empty counts as unset.
    ///
    /// | variable | what it says |
    /// | --- | --- |
    /// | `ETCD_LOCK_ENDPOINTS`, `ETCDCTL_ENDPOINTS` | endpoints, separated by commas. The first variable counts more. Default: `127.0.0.1:2379` |
    /// | `ETCDCTL_CACERT` | file: [certificates of the trusted authorities](TlsOptions::with_ca_file) |
    /// | `ETCDCTL_CERT`, `ETCDCTL_KEY` | files: [client certificate and its key](TlsOptions::with_identity_files), both or none |
    /// | `ETCD_LOCK_SERVER_NAME` | [name in the servers' certificates](TlsOptions::with_server_name) |
    /// | `ETCDCTL_INSECURE_TRANSPORT` | `false`: endpoints without a scheme are reached with TLS, also where no certificate is given. `true` is the default and says nothing |
    /// | `ETCDCTL_USER` | [user](Self::with_login), as `name:password`, or as `name` alone where the password is given apart |
    /// | `ETCDCTL_PASSWORD`, `ETCD_LOCK_PASSWORD_FILE` | the user's password, or a file with it, of which a line break at its end is left out |
    /// | `ETCDCTL_DIAL_TIMEOUT` | [bound of an attempt to connect](Self::with_connect_timeout) |
    /// | `ETCDCTL_COMMAND_TIMEOUT` | [bound of a call](Self::command_timeout) |
    /// | `ETCDCTL_KEEPALIVE_TIME`, `ETCDCTL_KEEPALIVE_TIMEOUT` | [time between pings](Self::with_keep_alive_interval), [time for the answer](Self::with_keep_alive_timeout) |
    ///
    /// Durations are written like `5s`, `2m` or `1m30s`; a bare number means seconds.
    ///
    /// Refused are `ETCDCTL_INSECURE_SKIP_TLS_VERIFY`, since a lock that anybody on the way can grant protects nothing, and
    /// `ETCDCTL_DISCOVERY_SRV`, since endpoints that an unsigned DNS answer names can't be told from others.
    ///
    /// ```
    /// use etcd_lock_grpc::ConnectOptions;
    ///
    /// let options = ConnectOptions::from_variables(|name| match name {
    ///     "ETCDCTL_ENDPOINTS" => Some("10.0.0.1:2379, 10.0.0.2:2379".into()),
    ///     "ETCDCTL_DIAL_TIMEOUT" => Some("1s".into()),
    ///     _ => None,
    /// })?;
    /// assert_eq!(options.endpoints(), ["10.0.0.1:2379", "10.0.0.2:2379"]);
    /// # Ok::<(), etcd_lock_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` when a variable has a value that can't be right, or does not go together with the others.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| env::var_os(name))
    }

    /// As [`from_env`](Self::from_env), with another source for the variables: a test's, or a program's own flags.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_variables(variables: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let variables = Variables(&variables);
        refuse_unsupported(&variables)?;
        let options = options(&variables)?.checked()?;
        Target::parse_all(&options)?;
        Ok(options)
    }
}

fn refuse_unsupported(variables: &Variables<'_>) -> Result<()> {
    let skip_verify = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY";
    if variables.flag(skip_verify)? == Some(true) {
        return Err(Error::invalid_argument(format!(
            "{skip_verify} is not supported: any server on the way could grant locks and read the password. Give the \
             certificate of the etcd's authority in ETCDCTL_CACERT (--cacert)"
        )));
    }
    let discovery = "ETCDCTL_DISCOVERY_SRV";
    if variables.text(discovery)?.is_some() {
        return Err(Error::invalid_argument(format!(
            "{discovery} is not supported: what DNS answers isn't signed. Name the members in ETCDCTL_ENDPOINTS \
             (--endpoints)"
        )));
    }
    Ok(())
}

fn endpoints(variables: &Variables<'_>) -> Result<Option<Vec<String>>> {
    let ours = variables.text("ETCD_LOCK_ENDPOINTS")?;
    let list = match ours {
        Some(list) => Some(list),
        None => variables.text("ETCDCTL_ENDPOINTS")?,
    };
    let split = |list: String| list.split(',').map(|it| it.trim().to_owned()).collect();
    Ok(list.map(split))
}

fn options(variables: &Variables<'_>) -> Result<ConnectOptions> {
    let mut options = ConnectOptions::new();
    if let Some(endpoints) = endpoints(variables)? {
        options = options.with_endpoints(endpoints);
    }
    options.command_timeout = variables.duration("ETCDCTL_COMMAND_TIMEOUT")?;
    if let Some(timeout) = variables.duration("ETCDCTL_DIAL_TIMEOUT")? {
        options = options.with_connect_timeout(timeout);
    }
    if let Some(interval) = variables.duration("ETCDCTL_KEEPALIVE_TIME")? {
        options = options.with_keep_alive_interval(interval);
    }
    if let Some(timeout) = variables.duration("ETCDCTL_KEEPALIVE_TIMEOUT")? {
        options = options.with_keep_alive_timeout(timeout);
    }
    if let Some(tls) = tls(variables)? {
        options = options.with_tls(tls);
    }
    if let Some((user, password)) = login(variables)? {
        options = options.with_login(user, password);
    }
    Ok(options)
}

/// Nothing where no variable asks for TLS.
fn tls(variables: &Variables<'_>) -> Result<Option<TlsOptions>> {
    let mut tls = TlsOptions::new();
    let mut wanted = variables.flag("ETCDCTL_INSECURE_TRANSPORT")? == Some(false);
    if let Some(file) = variables.path("ETCDCTL_CACERT") {
        tls = tls.with_ca_file(file);
        wanted = true;
    }
    match (
        variables.path("ETCDCTL_CERT"),
        variables.path("ETCDCTL_KEY"),
    ) {
        (Some(certificate), Some(key)) => {
            tls = tls.with_identity_files(certificate, key);
            wanted = true;
        }
        (Some(_), None) => return Err(half("certificate", "ETCDCTL_KEY (--key)")),
        (None, Some(_)) => return Err(half("key", "ETCDCTL_CERT (--cert)")),
        (None, None) => {}
    }
    if let Some(name) = variables.text("ETCD_LOCK_SERVER_NAME")? {
        tls = tls.with_server_name(name);
        wanted = true;
    }
    Ok(wanted.then_some(tls))
}

fn half(what: &str, other: &str) -> Error {
    Error::invalid_argument(format!(
        "a client {what} is given alone: {other} is missing"
    ))
}

/// The user to log in as. As for `etcdctl`, all of the user is the name where there is a password apart.
fn login(variables: &Variables<'_>) -> Result<Option<(String, SecretString)>> {
    let password = match password_file(variables)? {
        Some(password) => Some(password),
        None => variables.text("ETCDCTL_PASSWORD")?.map(SecretString::from),
    };
    let user = variables.text("ETCDCTL_USER")?;
    match (user, password) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::invalid_argument(
            "a password is given without a user: ETCDCTL_USER (--user) is missing",
        )),
        (Some(user), Some(password)) => Ok(Some((user, password))),
        (Some(user), None) => match user.split_once(':') {
            Some((name, password)) => Ok(Some((name.to_owned(), password.into()))),
            None => Err(Error::invalid_argument(format!(
                "the user {user:?} is given without a password: ETCDCTL_PASSWORD or ETCD_LOCK_PASSWORD_FILE \
                 (--password-file) is missing"
            ))),
        },
    }
}

fn password_file(variables: &Variables<'_>) -> Result<Option<SecretString>> {
    let Some(file) = variables.path("ETCD_LOCK_PASSWORD_FILE") else {
        return Ok(None);
    };
    if variables.text("ETCDCTL_PASSWORD")?.is_some() {
        return Err(Error::invalid_argument(
            "two passwords are given: one of ETCDCTL_PASSWORD and ETCD_LOCK_PASSWORD_FILE is too many",
        ));
    }
    read_password(file).map(Some)
}

fn read_password(file: PathBuf) -> Result<SecretString> {
    let text = fs::read_to_string(&file).map_err(|error| {
        let text = format!("can't read the password file {}", file.display());
        Error::invalid_argument(text).with_source(error)
    })?;
    let text = SecretString::from(text);
    let text = text.expose_secret();
    let password = text.strip_suffix('\n').unwrap_or(text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    Ok(password.into())
}
