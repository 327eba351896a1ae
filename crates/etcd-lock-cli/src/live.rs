//! `--watch`: a view that is read anew at each change of the keys below a prefix.

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock::Client;
use etcd_lock::core::watch::{WatchBody, WatchCreate, WatchRequest};
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::args::{Format, Output};
use crate::exit::{Failure, chain, say};
use crate::print::{View, bar, print};
use crate::signals::Signals;

/// The least time between two reads, so that a busy lock costs no more than this.
const PAUSE: Duration = Duration::from_millis(200);

/// When a terminal's view is read anew without a change: leases are renewed without one.
const REFRESH: Duration = Duration::from_secs(2);

/// Shows the view at each change, until a signal comes.
///
/// # Errors
/// With the signal, and where the output can't be written to.
pub(crate) async fn watch(
    client: &Client,
    prefix: Bytes,
    output: Output,
    read: impl AsyncFn() -> etcd_lock::Result<View>,
) -> Result<Infallible, Failure> {
    let mut signals = Signals::catch()?;
    let changes = Notify::new();
    let screen = Screen::new(output);
    let showing = async {
        loop {
            match read().await {
                Ok(view) => screen.show(&view)?,
                Err(error) => screen.complain(&chain(&error)),
            }
            sleep(PAUSE).await;
            match screen.0 {
                Some(_) => _ = timeout(REFRESH, changes.notified()).await,
                None => changes.notified().await,
            }
        }
    };
    tokio::select! {
        result = showing => result,
        never = notify(client, prefix, &changes) => match never {},
        signal = signals.next() => Err(Failure::signal(signal as i32)),
    }
}

/// Tells of each change. A stream that ends may have missed some, so that its end and its new beginning are told as well.
async fn notify(client: &Client, prefix: Bytes, changes: &Notify) -> Infallible {
    loop {
        let create = WatchRequest::Create(WatchCreate::prefix(0, prefix.clone()));
        let requests = stream::iter([create]).chain(stream::pending());
        let mut replies = client.transport().watch(requests.boxed());
        while let Some(Ok(reply)) = replies.next().await {
            changes.notify_one();
            if matches!(reply.body, WatchBody::Canceled { .. }) {
                break;
            }
        }
        sleep(REFRESH).await;
        changes.notify_one();
    }
}

/// A terminal that is drawn anew, or else a line of JSON for each view.
#[derive(Debug)]
struct Screen(Option<ProgressBar>);

impl Screen {
    fn new(output: Output) -> Self {
        if output == Output::Json || !io::stdout().is_terminal() {
            return Self(None);
        }
        Self(Some(bar(ProgressDrawTarget::stdout(), "{msg}")))
    }

    fn show(&self, view: &View) -> io::Result<()> {
        let Some(bar) = &self.0 else {
            let output = Output::Json;
            return print(Format { output }, view);
        };
        bar.set_message(view.text.trim_end().to_owned());
        bar.tick();
        Ok(())
    }

    /// Says why there is no view now. It goes on with the next change.
    fn complain(&self, why: &str) {
        match &self.0 {
            Some(bar) => {
                bar.set_message(format!("etcd doesn't tell: {why}"));
                bar.tick();
            }
            None => say(&format!("etcd doesn't tell: {why}")),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.abandon();
        }
    }
}
