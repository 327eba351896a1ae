//! Where an endpoint is, read from the text that names it.

use std::net::IpAddr;
use std::path::PathBuf;

use etcd_lock_core::{Error, Result};
use http::Uri;

use crate::Options;
use crate::connector::Address;

/// An endpoint as it was given, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    /// The endpoint's URL, for people.
    pub(crate) name: String,
    /// Scheme and authority of its requests.
    pub(crate) origin: Uri,
    /// Where connections go.
    pub(crate) address: Address,
}

impl Target {
    /// Reads a URL, `host:port` for plain TCP as etcdctl takes it, or the path of a Unix socket as `unix:/path`.
    pub(crate) fn parse(given: &str, options: &Options) -> Result<Self> {
        match given.strip_prefix("unix:") {
            Some(path) => Self::unix(given, path.strip_prefix("//").unwrap_or(path)),
            None => Self::tcp(given, options),
        }
    }

    fn unix(given: &str, path: &str) -> Result<Self> {
        if !path.starts_with('/') || path.len() < 2 {
            return Err(bad(given, "the path of a Unix socket is absolute"));
        }
        Ok(Self {
            name: format!("unix://{path}"),
            // Only a name: the socket says who listens.
            origin: Uri::from_static("http://localhost"),
            address: Address::Unix(PathBuf::from(path)),
        })
    }

    fn tcp(given: &str, options: &Options) -> Result<Self> {
        let name = if given.contains("://") {
            given.to_owned()
        } else {
            format!("http://{given}")
        };
        let origin = name
            .parse::<Uri>()
            .map_err(|error| bad(given, "it is no URL").with_source(error))?;
        match origin.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(bad(given, "TLS is not supported yet, use http://")),
            _ => return Err(bad(given, "its scheme must be http or unix")),
        }
        let (Some(host), Some(port)) =
            (origin.host().filter(|it| !it.is_empty()), origin.port_u16())
        else {
            return Err(bad(given, "host and port are needed"));
        };
        if options.login.is_some() && !is_loopback(host) {
            return Err(bad(
                given,
                "without TLS a password is sent to a loopback address only",
            ));
        }
        if origin
            .path_and_query()
            .is_some_and(|path| path.as_str() != "/")
        {
            return Err(bad(given, "there must be nothing after the port"));
        }
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self {
            address: Address::Tcp { host, port },
            name,
            origin,
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bad(given: &str, why: &str) -> Error {
    Error::invalid(format!(
        "{given:?} is no endpoint: {why}, as in http://127.0.0.1:2379"
    ))
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::ErrorKind;

    use super::*;

    fn parse(given: &str) -> Result<Target> {
        Target::parse(given, &Options::new())
    }

    #[test]
    fn urls_and_host_with_port_are_endpoints() {
        for (given, host, port) in [
            ("http://127.0.0.1:2379", "127.0.0.1", 2379),
            ("127.0.0.1:2379", "127.0.0.1", 2379),
            ("localhost:1", "localhost", 1),
            ("http://[::1]:2379/", "::1", 2379),
        ] {
            let target = parse(given).unwrap();
            let host = host.to_owned();
            assert_eq!(target.address, Address::Tcp { host, port }, "{given}");
        }
    }

    #[test]
    fn paths_of_unix_sockets_are_endpoints() {
        for given in ["unix:/run/etcd", "unix:///run/etcd"] {
            let target = parse(given).unwrap();
            assert_eq!(target.address, Address::Unix("/run/etcd".into()), "{given}");
            assert_eq!(target.name, "unix:///run/etcd");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "127.0.0.1",
            "http://",
            "https://a:1",
            "ftp://a:1",
            "unix:",
            "unix:relative",
            "unix:/",
            "http://a:1/b",
            "a b:1",
            "http://a:99999",
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_sent_through_the_net() {
        let options = Options::new().with_login("me", "secret");
        for (endpoint, goes) in [
            ("127.0.0.1:1", true),
            ("localhost:1", true),
            ("http://[::1]:1", true),
            ("unix:/run/etcd", true),
            ("10.0.0.1:1", false),
            ("http://localhost.example.org:1", false),
        ] {
            assert_eq!(
                Target::parse(endpoint, &options).is_ok(),
                goes,
                "{endpoint}"
            );
        }
        assert!(!format!("{options:?}").contains("secret"));
    }
}
