//! Times to live and signals of any text: those of the corpora, and others like them.

use std::path::{Path, PathBuf};

use etcd_lock_testkit::seeds;

use super::{Signal, Ttl, duration, signal, ttl};

#[test]
fn time_to_live_is_the_duration_rounded_up_to_seconds() {
    etcd_lock_fuzz::check(&corpus("time_to_live"), seeds::fresh(), time_to_live);
}

fn time_to_live(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let asked = duration(text).ok();
    match (ttl(text), asked) {
        (Ok(ttl), Some(asked)) => {
            let more = ttl.as_duration().checked_sub(asked).unwrap();
            assert!(more.as_secs() == 0, "{text:?}");
        }
        (Err(_), None) => {}
        (Err(why), Some(asked)) => {
            let longest = u64::try_from(Ttl::MAX_SECS).unwrap();
            assert!(asked.as_secs() >= longest, "{text:?}: {why}");
        }
        (Ok(ttl), None) => panic!("{text:?} is {ttl:?}"),
    }
}

#[test]
fn signal_has_a_name_and_a_number() {
    etcd_lock_fuzz::check(&corpus("signal_name"), seeds::fresh(), signal_name);
}

fn signal_name(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(known) = signal(text) {
        assert_eq!(signal(known.as_str()), Ok(known));
        assert_eq!(signal(&(known as i32).to_string()), Ok::<Signal, _>(known));
    }
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpora")
        .join(name)
}
