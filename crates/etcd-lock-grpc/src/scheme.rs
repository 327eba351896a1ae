//! Whether an endpoint is reached with TLS.

use std::net::IpAddr;

use http::Uri;

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Unix,
}

impl Scheme {
    /// What an endpoint says of it: nothing where it is `host:port`.
    pub(crate) fn of(endpoint: &str) -> Option<Self> {
        let (scheme, _) = endpoint.split_once("://").or_else(|| {
            let (scheme, path) = endpoint.split_once(':')?;
            (scheme == "unix").then_some((scheme, path))
        })?;
        match scheme {
            "https" => Some(Self::Https),
            "unix" => Some(Self::Unix),
            // Another one is refused as no endpoint; until then, nothing good is thought of it.
            _ => Some(Self::Http),
        }
    }
}

/// Whether the host of an endpoint is this machine: `localhost`, or a loopback address.
pub(crate) fn is_loopback(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_is_read_from_the_beginning() {
        for (endpoint, scheme) in [
            ("https://a:1", Some(Scheme::Https)),
            ("http://a:1", Some(Scheme::Http)),
            ("ftp://a:1", Some(Scheme::Http)),
            ("unix:///a", Some(Scheme::Unix)),
            ("unix:a", Some(Scheme::Unix)),
            ("a:1", None),
            ("[::1]:1", None),
        ] {
            assert_eq!(Scheme::of(endpoint), scheme, "{endpoint}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for here in [
            "localhost:1",
            "http://127.9.9.9:1",
            "[::1]:1",
            "https://[::1]:1/",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for there in [
            "",
            "a:1",
            "localhost.example.org:1",
            "127.0.0.1@a:1",
            "http://0.0.0.0:1",
        ] {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
