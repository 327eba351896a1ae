//! The page on operations knows every kind of error, and every variable that is read.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::cell::RefCell;
use std::fs;

use etcd_lock_core::ErrorKind;
use etcd_lock_grpc::ConnectOptions;

#[test]
fn every_kind_of_error_has_a_row() {
    let page = page();
    for kind in [
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
    ] {
        assert!(page.contains(&format!("\n| `{kind:?}` |")), "{kind:?}");
    }
}

#[test]
fn every_variable_that_is_read_is_on_it() {
    let read = RefCell::new(Vec::new());
    let options = ConnectOptions::from_variables(|name| {
        read.borrow_mut().push(name.to_owned());
        None
    });
    assert!(options.is_ok());
    let page = page();
    assert!(read.borrow().len() > 10, "{read:?}");
    for name in read.into_inner() {
        assert!(page.contains(&format!("`{name}")), "{name}");
    }
}

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    fs::read_to_string(path).unwrap()
}
