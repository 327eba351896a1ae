//! The program `etcd-lock`: locks on etcd, for the shell.

mod args;
mod attend;
mod bench;
mod breaking;
mod child;
mod command_line;
mod completions;
mod config;
mod config_file;
mod connection;
mod doctor;
mod exit;
mod farewell;
mod help;
mod hold;
mod keys;
mod list;
mod live;
mod man;
mod print;
mod program;
mod run;
mod serve;
mod settings;
mod signals;
mod start;
mod status;
mod version;
mod waiting;

#[cfg(not(unix))]
compile_error!("etcd-lock runs commands in process groups, with signals: it is for Unix alone");

use std::env;
use std::process::ExitCode;

use args::Command;
use exit::Failure;

fn main() -> ExitCode {
    if start::is_asked() {
        return start::run().report();
    }
    let cli = match command_line::parse(env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Requested help goes to standard output, complaints to standard error; neither is worth a second failure.
            let _ = error.print();
            return if error.use_stderr() {
                exit::USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    trace(cli.common.verbose);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(),
    };
    let done = runtime.block_on(async {
        match &cli.command {
            Command::Run(args) => run::run(&cli.common, args).await,
            Command::Lock(args) => keys::lock(&cli.common, args).await,
            Command::Unlock(args) => keys::unlock(&cli.common, args).await,
            Command::Renew(args) => keys::renew(&cli.common, args).await,
            Command::Status(args) => status::run(&cli.common, args).await,
            Command::List(args) => list::run(&cli.common, args).await,
            Command::Break(args) => breaking::run(&cli.common, args).await,
            Command::Serve(args) => serve::serve(args).await,
            Command::Doctor(args) => doctor::run(&cli.common, args).await,
            Command::Bench(args) => bench::run(&cli.common, args).await,
            Command::Config(args) => config::run(&cli.common, args),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
        }
    });
    done.unwrap_or_else(|failure| failure.asking(&cli.common.connection.endpoints()).report())
}

fn trace(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "etcd_lock=debug,etcd_lock_session=debug,etcd_lock_grpc=debug",
        _ => "debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(std::io::stderr)
        .init();
}
