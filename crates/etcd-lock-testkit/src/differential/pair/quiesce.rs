//! Between two steps: etcd is waited for until it has told all that the model tells.

use tokio::time::Instant;

use super::{Pair, Result, Stop, same};
use crate::differential::etcd::PATIENCE;
use crate::differential::mapping::Mapped;
use crate::differential::numbers::FromEtcd;
use crate::differential::watch_log::STREAMS;

impl Pair<'_> {
    /// Has etcd come to where the model is: its revision, and all that calls and watches that wait are to be told.
    pub(super) async fn quiesce(&mut self) -> Result {
        let revision = self.memory.model.revision();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let etcd = self.etcd.revision().await - self.numbers.offset;
            if etcd == revision {
                break;
            }
            if etcd > revision || Instant::now() > deadline {
                let text = format!("model: revision {revision}\netcd:  revision {etcd}");
                return Err(Stop::Mismatch(text));
            }
        }
        self.quiesce_locks().await?;
        for stream in 0..STREAMS {
            self.quiesce_stream(stream).await?;
        }
        Ok(())
    }

    async fn quiesce_stream(&mut self, stream: usize) -> Result {
        let (memory, etcd) = &mut self.watch_logs[stream];
        while let Some(reply) = self.memory.next_watch_response(stream) {
            memory.add(reply);
        }
        let mut late = false;
        while !late && !etcd.has_reached(memory) {
            match self.etcd.next_watch_response(stream, PATIENCE).await {
                Some(mut reply) => {
                    reply.renumber(&FromEtcd(&self.numbers));
                    etcd.add(reply.map_err(|refusal| Stop::Mismatch(format!("{refusal:?}")))?);
                }
                None => late = true,
            }
        }
        same(&format_args!("watch stream {stream}"), memory, etcd)
    }
}
