//! Settings of a connection.

mod certificates;
mod endpoint;

use std::ffi::OsString;

use etcd_lock_core::ErrorKind;
use etcd_lock_grpc::{ConnectOptions, parse_duration};

pub(crate) use self::certificates::certificates;
pub(crate) use self::endpoint::endpoint;

/// Stands in each password, and in no text of ours.
const SECRET: char = '\u{1f511}';

/// Each line is `NAME=value`.
pub(crate) fn variables(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match ConnectOptions::from_variables(|name| value(text, name)) {
        Ok(options) => {
            assert!(!options.endpoints().is_empty());
            assert!(!format!("{options:?}").contains(SECRET));
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
        }
    }
}

fn value(text: &str, name: &str) -> Option<OsString> {
    let mut values = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = values.find(|(other, _)| *other == name)?;
    Some(match name {
        "ETCDCTL_PASSWORD" => format!("{value}{SECRET}").into(),
        // It would be read.
        "ETCD_LOCK_PASSWORD_FILE" => "/no/such/file".into(),
        _ => value.into(),
    })
}

pub(crate) fn duration(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match parse_duration(text) {
        Ok(duration) => {
            assert!(!duration.is_zero());
            if let Ok(seconds) = text.parse() {
                assert_eq!((duration.as_secs(), duration.subsec_nanos()), (seconds, 0));
            }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(!error.to_string().is_empty());
        }
    }
}
