//! Between two steps: etcd is waited for until it has told all that the model tells.

use tokio::time::Instant;

use super::{Pair, Result, Stop, same};
use crate::differential::feeds::STREAMS;
use crate::differential::large::PATIENCE;
use crate::differential::mapping::Mapped;
use crate::differential::numbers::FromEtcd;

impl Pair<'_> {
    /// Has etcd come to where the model is: its revision, and all that calls and watches that wait are to be told.
    pub(super) async fn settle(&mut self) -> Result {
        let revision = self.small.model.revision();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let etcd = self.large.revision().await - self.numbers.offset;
            if etcd == revision {
                break;
            }
            if etcd > revision || Instant::now() > deadline {
                let text = format!("model: revision {revision}\netcd:  revision {etcd}");
                return Err(Stop::Mismatch(text));
            }
        }
        self.settle_locks().await?;
        for stream in 0..STREAMS {
            self.settle_stream(stream).await?;
        }
        Ok(())
    }

    async fn settle_stream(&mut self, stream: usize) -> Result {
        let (small, large) = &mut self.feeds[stream];
        while let Some(reply) = self.small.next_watch_response(stream) {
            small.add(reply);
        }
        let mut late = false;
        while !late && !large.has_reached(small) {
            match self.large.next_watch_response(stream, PATIENCE).await {
                Some(mut reply) => {
                    reply.renumber(&FromEtcd(&self.numbers));
                    large.add(reply.map_err(|refusal| Stop::Mismatch(format!("{refusal:?}")))?);
                }
                None => late = true,
            }
        }
        same(&format_args!("watch stream {stream}"), small, large)
    }
}
