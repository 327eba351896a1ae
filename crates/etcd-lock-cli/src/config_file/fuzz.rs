//! Configuration files of any text: those of the corpus, and others like them.

use std::path::Path;

use etcd_lock::{Error, ErrorKind};
use etcd_lock_testkit::seeds;

use super::*;
use crate::settings::Settings;

const PATH: &str = "/etc/etcd-lock/config.toml";

#[test]
fn file_is_read_or_refused_with_its_line() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora/config");
    etcd_lock_fuzz::check(&corpus, seeds::fresh(), config);
}

fn config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match ConfigFile::parse(PATH.into(), text) {
        Ok(file) => is_right(text, file),
        Err(error) => is_refusal(text, &error),
    }
}

/// Each value is on the line that is said, and all of them make options of a connection, or are refused with a reason.
fn is_right(text: &str, file: ConfigFile) {
    for (name, (_, line)) in &file.values {
        let line = text.split('\n').nth(line - 1).unwrap();
        // A key may be written with escapes.
        assert!(line.contains(name) || line.contains('\\'), "{name}: {line}");
    }
    // The file would be read.
    if file.values.contains_key("password-file") {
        return;
    }
    let settings = Settings::new(&BTreeMap::new(), |_| None, Some(file));
    if let Err(error) = settings.options() {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    }
}

/// A refusal names a line of the file.
fn is_refusal(text: &str, error: &Error) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    let said = error.to_string();
    let said = said.strip_prefix(PATH).unwrap();
    let said = said.strip_prefix(", line ").unwrap();
    let (line, why) = said.split_once(": ").unwrap();
    let lines = text.split('\n').count();
    assert!((1..=lines).contains(&line.parse().unwrap()), "{error}");
    assert!(!why.is_empty());
}
