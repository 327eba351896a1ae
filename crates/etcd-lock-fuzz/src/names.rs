//! Names, keys, tokens and lease numbers.

use etcd_lock_core::{Error, ErrorKind, FencingToken, LeaseId, LockKey, LockName, Revision};

pub(crate) fn lock_name(bytes: &[u8]) {
    match LockName::new(bytes.to_vec()) {
        Ok(name) => {
            assert_eq!(name.as_bytes(), bytes);
            assert!(!name.to_string().contains(char::is_control));
            for lease in [1, i64::MAX, i64::MIN].map(LeaseId::of_stored_key) {
                let lease = lease.unwrap();
                assert_eq!(name.key(lease).parts(), Some((name.clone(), lease)));
            }
        }
        Err(error) => {
            assert!(bytes.is_empty() || bytes.len() > LockName::MAX_LEN);
            is_refusal(&error, "lock name");
        }
    }
}

pub(crate) fn lock_key(bytes: &[u8]) {
    match LockKey::new(bytes.to_vec()) {
        Ok(key) => {
            assert_eq!(key.as_bytes(), bytes);
            assert!(!key.to_string().contains(char::is_control));
            let parts = key.parts();
            if let Some((name, lease)) = &parts {
                assert_eq!(name.key(*lease), key);
            }
            assert_eq!(parts.is_some(), is_entry(bytes), "{key}");
        }
        Err(error) => {
            assert!(bytes.is_empty() || bytes.len() > LockName::MAX_LEN);
            is_refusal(&error, "lock key");
        }
    }
}

pub(crate) fn fencing_token_from_bytes(bytes: &[u8]) {
    match FencingToken::from_bytes(bytes) {
        Ok(token) => {
            assert_eq!(token.to_bytes(), bytes);
            assert_eq!(token.to_string().parse::<FencingToken>().unwrap(), token);
        }
        Err(error) => {
            assert!(bytes.len() != 16 || bytes[0] >= 128);
            is_refusal(&error, "fencing token");
        }
    }
}

pub(crate) fn fencing_token_from_text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<FencingToken>() {
        Ok(token) => {
            assert_eq!(token.to_string(), text);
            assert_eq!(FencingToken::from_bytes(&token.to_bytes()).unwrap(), token);
        }
        Err(error) => {
            assert!(!is_token(text), "{text:?}");
            is_refusal(&error, &format!("{text:?} is no fencing token"));
        }
    }
}

pub(crate) fn lease_id(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<LeaseId>() {
        Ok(lease) => {
            assert!(lease.get() > 0);
            let digits = text.trim_start_matches('0').to_ascii_lowercase();
            assert_eq!(lease.to_string(), digits);
        }
        Err(error) => is_refusal(&error, "the lease id is"),
    }
}

/// Whether a key is `<name>/<lease>`, in other words than the parser's: the lease is a number that prints the same again.
fn is_entry(key: &[u8]) -> bool {
    let Some(slash) = key.iter().rposition(|&byte| byte == b'/') else {
        return false;
    };
    let Ok(text) = str::from_utf8(&key[slash + 1..]) else {
        return false;
    };
    let lease = i64::from_str_radix(text, 16).ok();
    let lease = lease.and_then(LeaseId::of_stored_key);
    slash > 0 && lease.is_some_and(|lease| lease.to_string() == text)
}

/// Whether a text is a token's, in other words than the parser's: two numbers that print the same again.
fn is_token(text: &str) -> bool {
    let parts = text.split_once('.');
    let numbers = parts.and_then(|(revision, handover)| {
        let revision = Revision::new(revision.parse().ok()?).ok()?;
        Some(FencingToken::new(revision, handover.parse().ok()?))
    });
    numbers.is_some_and(|token| token.to_string() == text)
}

fn is_refusal(error: &Error, what: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert!(error.to_string().contains(what), "{error}");
}
