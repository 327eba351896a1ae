//! The causes of a failed handshake, in words that say what to change.

use std::io;

use etcd_lock_core::{Error, ErrorKind};
use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::Identity;

/// A handshake with a server, as far as errors tell of it.
pub(super) struct Handshake<'a> {
    pub(super) host: &'a str,
    /// The authorities that are trusted.
    pub(super) trusted: &'a str,
    pub(super) identity: Option<&'a Identity>,
}

impl Handshake<'_> {
    /// The error for a handshake that failed with this one.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        let cause = error.get_ref().and_then(|error| error.downcast_ref());
        let (kind, text) = match cause {
            Some(TlsError::InvalidCertificate(cause)) => self.not_trusted(cause),
            Some(TlsError::AlertReceived(alert)) => self.refused(*alert),
            Some(TlsError::InvalidMessage(_)) => (
                ErrorKind::Protocol,
                format!(
                    "{} answers without TLS: is it an http:// endpoint?",
                    self.host
                ),
            ),
            Some(_) => (
                ErrorKind::Protocol,
                format!("the TLS handshake with {} failed", self.host),
            ),
            None => (
                ErrorKind::Unavailable,
                format!("the connection to {} broke in the TLS handshake", self.host),
            ),
        };
        Error::new(kind, text).with_source(error)
    }

    /// The error for a server that speaks TLS, and something else than HTTP/2 within it.
    pub(super) fn without_http2(&self) -> Error {
        let text = format!("{} is not an etcd: it speaks TLS, but no HTTP/2", self.host);
        Error::new(ErrorKind::Protocol, text)
    }

    /// Why the server's certificate isn't trusted. Time, or the server's next certificate, may mend one that isn't valid
    /// at this time; nothing mends the others.
    fn not_trusted(&self, cause: &CertificateError) -> (ErrorKind, String) {
        let certificate = format!("the certificate of {}", self.host);
        match cause {
            CertificateError::ExpiredContext { not_after, .. } => (
                ErrorKind::Unavailable,
                format!("{certificate} expired at {}", date(*not_after)),
            ),
            CertificateError::Expired => {
                (ErrorKind::Unavailable, format!("{certificate} has expired"))
            }
            CertificateError::NotValidYetContext { not_before, .. } => (
                ErrorKind::Unavailable,
                format!("{certificate} is not valid before {}", date(*not_before)),
            ),
            // The latter where an authority was made anew with the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                ErrorKind::Protocol,
                format!(
                    "{certificate} is by an authority that is not in {}",
                    self.trusted
                ),
            ),
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => (
                ErrorKind::Protocol,
                format!(
                    "{certificate} is not for {}: it is for {}",
                    expected.to_str(),
                    names(presented)
                ),
            ),
            _ => (ErrorKind::Protocol, format!("{certificate} is not trusted")),
        }
    }

    /// The cause of a handshake that the server ended.
    fn refused(&self, alert: AlertDescription) -> (ErrorKind, String) {
        use AlertDescription as Alert;
        let host = self.host;
        match alert {
            Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate => (ErrorKind::Unauthenticated, self.not_let_in()),
            Alert::NoApplicationProtocol => (
                ErrorKind::Protocol,
                format!("{host} is not an etcd: it speaks TLS, but no HTTP/2"),
            ),
            Alert::ProtocolVersion => (
                ErrorKind::Protocol,
                format!("{host} speaks neither TLS 1.2 nor TLS 1.3"),
            ),
            _ => (
                ErrorKind::Protocol,
                format!("{host} ended the TLS handshake"),
            ),
        }
    }

    fn not_let_in(&self) -> String {
        let host = self.host;
        match self.identity {
            Some(identity) => format!(
                "{host} refuses the client certificate {}",
                identity.certificate
            ),
            None => format!(
                "{host} wants a client certificate: give one with its key (with_identity_files, --cert and --key)"
            ),
        }
    }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match Timestamp::from_second(seconds) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{seconds} s after 1970"),
    }
}

/// The names of a certificate, as people write them: rustls says `DnsName("a")` and `IpAddress(::1)`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name".to_owned();
    }
    let bare = presented.iter().map(|name| {
        let name = name.split_once('(').map_or(name.as_str(), |(_, name)| name);
        name.trim_end_matches(')')
            .trim_matches('"')
            .escape_debug()
            .to_string()
    });
    bare.collect::<Vec<_>>().join(", ")
}
