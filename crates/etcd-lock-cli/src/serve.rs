//! `etcd-lock serve`: an etcd in memory, for development and tests.

use std::io::{self, Write};
use std::process::ExitCode;

use etcd_lock::memory::{MemoryEtcd, Server};

use crate::args::Serve;
use crate::exit::{Failure, OS, say};
use crate::signals::Signals;

/// Serves until a signal says to stop.
pub(crate) async fn serve(args: &Serve) -> Result<ExitCode, Failure> {
    let mut signals = Signals::catch()?;
    let server = Server::bind(args.listen.as_str(), MemoryEtcd::new())
        .await
        .map_err(|error| Failure::new(OS, format!("can't listen on {}: {error}", args.listen)))?;
    // A caller that doesn't read the line knows the endpoint already.
    let _ = writeln!(io::stdout(), "listening on {}", server.endpoint());
    say("everything is kept in memory alone, and anybody who can connect may change it");
    signals.next().await;
    server.shutdown().await?;
    Ok(ExitCode::SUCCESS)
}
