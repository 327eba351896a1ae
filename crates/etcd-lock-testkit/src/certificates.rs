//! Certificates for tests: an authority of its own, and what it signs, as PEM files.
//!
//! ```
//! use etcd_lock_testkit::certificates::Authority;
//!
//! let authority = Authority::new();
//! let server = authority.server();
//! let client = authority.client("worker");
//! assert!(authority.ca_file().exists() && server.certificate_file().exists());
//! assert_ne!(server.key(), client.key());
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// The names of a server that tests start: every way to name the loopback interface.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// A certificate authority. All files are in a folder that is removed with it.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    ca_file: PathBuf,
    issued: AtomicUsize,
}

impl Authority {
    /// An authority with a new key. A client that trusts another authority refuses what this one signs.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = params(&[], Some("etcd-lock test authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca_file = folder.path().join("ca.pem");
        fs::write(&ca_file, issuer.pem()).unwrap();
        Self {
            folder,
            issuer,
            ca_file,
            issued: AtomicUsize::new(0),
        }
    }

    /// The authority's own certificate, for `--cacert` and `--trusted-ca-file`.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The same as PEM text.
    #[must_use]
    pub fn ca(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate of a server on this machine: `127.0.0.1`, `::1` and `localhost`.
    ///
    /// It is good for a client, too: a member of etcd connects to its peers and to itself with it.
    #[must_use]
    pub fn server(&self) -> Pair {
        self.server_for(&LOOPBACK)
    }

    /// A certificate of a server with other names.
    #[must_use]
    pub fn server_for(&self, names: &[&str]) -> Pair {
        self.sign(params(names, None))
    }

    /// A certificate of a server on this machine that ended with the year 2020.
    #[must_use]
    pub fn expired_server(&self) -> Pair {
        self.sign(expired(params(&LOOPBACK, None)))
    }

    /// A certificate of a client. An etcd with authentication and client certificates on takes its common name for the
    /// user.
    #[must_use]
    pub fn client(&self, common_name: &str) -> Pair {
        self.sign(client(common_name))
    }

    /// A certificate of a client that ended with the year 2020.
    #[must_use]
    pub fn expired_client(&self, common_name: &str) -> Pair {
        self.sign(expired(client(common_name)))
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let number = self.issued.fetch_add(1, Relaxed);
        let pair = Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            certificate_file: self.folder.path().join(format!("{number}.pem")),
            key_file: self.folder.path().join(format!("{number}-key.pem")),
        };
        fs::write(&pair.certificate_file, &pair.certificate).unwrap();
        fs::write(&pair.key_file, &pair.key).unwrap();
        pair
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate with its key, as text and as files.
#[derive(Clone, Debug)]
pub struct Pair {
    certificate: String,
    key: String,
    certificate_file: PathBuf,
    key_file: PathBuf,
}

impl Pair {
    /// The certificate as PEM text.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key as PEM text (PKCS #8).
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The file with the certificate, for `--cert` and `--cert-file`.
    #[must_use]
    pub fn certificate_file(&self) -> &Path {
        &self.certificate_file
    }

    /// The file with the key, for `--key` and `--key-file`.
    #[must_use]
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }
}

fn client(common_name: &str) -> CertificateParams {
    let mut params = params(&[], Some(common_name));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn params(names: &[&str], common_name: Option<&str>) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.not_before = date_time_ymd(2020, 1, 1);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_after = date_time_ymd(2021, 1, 1);
    params
}
