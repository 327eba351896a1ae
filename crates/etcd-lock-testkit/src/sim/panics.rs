//! Panics inside simulated processes: tokio swallows those of tasks, so they are noted where they happen.

use std::cell::{Cell, RefCell};
use std::panic::{set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, until [`forget`], panics of this thread are noted instead of printed.
pub(super) fn watch() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if SIMULATING.get() {
                LAST.set(Some(panic.to_string()));
            } else {
                others(panic);
            }
        }));
    });
    SIMULATING.set(true);
}

pub(super) fn forget() {
    SIMULATING.set(false);
    LAST.take();
}

/// The last panic, once.
pub(super) fn take() -> Option<String> {
    LAST.take()
}
