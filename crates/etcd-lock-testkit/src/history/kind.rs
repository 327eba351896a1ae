//! Kinds of errors in a history's text: by the names that they have for machines.

use etcd_lock_core::ErrorKind;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

const KINDS: [ErrorKind; 16] = [
    ErrorKind::AlreadyOpen,
    ErrorKind::Busy,
    ErrorKind::Closed,
    ErrorKind::InvalidArgument,
    ErrorKind::LeaseNotFound,
    ErrorKind::LockTimeout,
    ErrorKind::Lost,
    ErrorKind::NotOpen,
    ErrorKind::PermissionDenied,
    ErrorKind::Protocol,
    ErrorKind::ResourceExhausted,
    ErrorKind::Server,
    ErrorKind::Timeout,
    ErrorKind::Unauthenticated,
    ErrorKind::Unavailable,
    ErrorKind::Unsupported,
];

pub(super) fn serialize<S: Serializer>(kind: &ErrorKind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.as_str())
}

pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<ErrorKind, D::Error> {
    let name = String::deserialize(from)?;
    let kind = KINDS.into_iter().find(|kind| kind.as_str() == name);
    kind.ok_or_else(|| D::Error::custom(format!("there is no kind of error {name:?}")))
}
