//! Where an endpoint is, read from the text that names it.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use etcd_lock_core::{Error, Result};
use http::Uri;

use crate::ConnectOptions;
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
    /// The host, if TLS is spoken with it.
    pub(crate) tls: Option<String>,
}

impl Target {
    /// Reads all endpoints of an etcd.
    ///
    /// # Errors
    /// `InvalidArgument` when one can't be read, there is none, or the options can't work with them.
    pub(crate) fn parse_all(options: &ConnectOptions) -> Result<Vec<Self>> {
        let given = options.endpoints.iter();
        let targets = given.map(|given| Self::parse(given, options));
        let targets = targets.collect::<Result<Vec<_>>>()?;
        if targets.is_empty() {
            return Err(Error::invalid_argument(
                "no endpoint: at least one is needed",
            ));
        }
        if options.tls.is_some() && targets.iter().all(|target| target.tls.is_none()) {
            return Err(Error::invalid_argument(
                "there are options for TLS, and no endpoint with it: write https:// before it",
            ));
        }
        Ok(targets)
    }

    /// Reads a URL, `host:port` as etcdctl takes it, or the path of a Unix socket as `unix:/path`.
    pub(crate) fn parse(given: &str, options: &ConnectOptions) -> Result<Self> {
        if given.contains('@') {
            // It may be a password, so it isn't repeated.
            return Err(Error::invalid_argument(
                "an endpoint has a user in it, before its @: log in with with_login, or ETCDCTL_USER",
            ));
        }
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
            tls: None,
        })
    }

    fn tcp(given: &str, options: &ConnectOptions) -> Result<Self> {
        let name = match options.tls {
            _ if given.contains("://") => given.to_owned(),
            Some(_) => format!("https://{given}"),
            None => format!("http://{given}"),
        };
        let origin = name
            .parse::<Uri>()
            .map_err(|error| bad(given, "it is no URL").with_source(error))?;
        let has_tls = match origin.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad(given, "its scheme must be http, https or unix")),
        };
        let (host, port) = host_and_port(&name, &origin).map_err(|why| bad(given, why))?;
        if options.login.is_some() && !has_tls && !is_loopback(&host) {
            return Err(bad(
                given,
                "a password goes over plain TCP to loopback addresses only, write https:// before others",
            ));
        }
        Ok(Self {
            tls: has_tls.then(|| host.clone()),
            address: Address::Tcp { host, port },
            name,
            origin,
        })
    }
}

/// The host, without brackets, and the port of a URL that has nothing else.
fn host_and_port(url: &str, parsed: &Uri) -> Result<(String, u16), &'static str> {
    let host = parsed.host().filter(|host| !host.is_empty());
    let (Some(host), Some(port)) = (host, parsed.port_u16()) else {
        return Err("host and port are needed");
    };
    // What a URL may have besides, such as a fragment, would be passed over in silence.
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    if rest.strip_suffix('/').unwrap_or(rest) != format!("{host}:{port}") {
        return Err("there must be nothing but host and port");
    }
    let Some(ip) = host.strip_prefix('[') else {
        return Ok((host.to_owned(), port));
    };
    let ip = ip.trim_end_matches(']');
    match ip.parse::<Ipv6Addr>() {
        Ok(_) => Ok((ip.to_owned(), port)),
        Err(_) => Err("what is in brackets must be an IPv6 address"),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bad(given: &str, why: &str) -> Error {
    Error::invalid_argument(format!(
        "{given:?} is no endpoint: {why}, as in http://127.0.0.1:2379"
    ))
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::ErrorKind;

    use super::*;
    use crate::TlsOptions;

    fn parse(given: &str) -> Result<Target> {
        Target::parse(given, &ConnectOptions::new())
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
            "ftp://a:1",
            "unix:",
            "unix:relative",
            "unix:/",
            "http://a:1/b",
            "http://a:1?b",
            "http://a:1#b",
            "http://a:+1",
            "http://a:01",
            "http://[a]:1",
            "http://[localhost]:1",
            "a b:1",
            "http://a:99999",
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn scheme_says_whether_tls_is_spoken_and_tls_options_are_the_default() {
        let with_tls = ConnectOptions::new().with_tls(TlsOptions::new());
        for (given, without, with) in [
            ("https://a:1", Some("a"), Some("a")),
            ("https://[::1]:1", Some("::1"), Some("::1")),
            ("http://a:1", None, None),
            ("unix:/a", None, None),
            ("a:1", None, Some("a")),
        ] {
            let tls = |options: &ConnectOptions| Target::parse(given, options).unwrap().tls;
            assert_eq!(tls(&ConnectOptions::new()).as_deref(), without, "{given}");
            assert_eq!(tls(&with_tls).as_deref(), with, "{given}");
        }
    }

    #[test]
    fn tls_options_need_an_endpoint_with_tls() {
        let options = ConnectOptions::new().with_tls(TlsOptions::new());
        for plain in [
            &["http://a:1"][..],
            &["unix:///a"],
            &["http://a:1", "unix:/b"],
        ] {
            let error = Target::parse_all(&options.clone().with_endpoints(plain)).unwrap_err();
            assert!(error.to_string().contains("write https://"), "{error}");
        }
        for good in [
            &["https://a:1"][..],
            &["a:1"],
            &["http://127.0.0.1:1", "https://a:1"],
        ] {
            assert!(
                Target::parse_all(&options.clone().with_endpoints(good)).is_ok(),
                "{good:?}"
            );
        }
    }

    #[test]
    fn password_goes_over_plain_tcp_to_loopback_only() {
        let login = ConnectOptions::new().with_login("me", "secret");
        let with_tls = login.clone().with_tls(TlsOptions::new());
        for good in [
            "127.0.0.1:1",
            "localhost:1",
            "http://[::1]:1",
            "unix:/a",
            "https://a:1",
        ] {
            assert!(Target::parse(good, &login).is_ok(), "{good}");
        }
        assert!(Target::parse("a:1", &with_tls).is_ok());
        for (bad, options) in [
            ("10.0.0.1:1", &login),
            ("http://localhost.example.org:1", &login),
            ("http://a:1", &with_tls),
        ] {
            let error = Target::parse(bad, options).unwrap_err();
            assert!(
                error.to_string().contains("loopback addresses only"),
                "{error}"
            );
        }
    }

    #[test]
    fn user_in_an_endpoint_is_refused_and_not_repeated() {
        for given in ["http://me:secret@127.0.0.1:1", "me:secret@127.0.0.1:1"] {
            let error = parse(given).unwrap_err();
            assert!(error.to_string().contains("log in with"), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
