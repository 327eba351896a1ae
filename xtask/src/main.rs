//! The tasks that the developers of etcd-lock run with `cargo xtask`.

mod api;
mod bench;
mod book;
mod ci;
mod clients;
mod cluster;
mod codegen;
mod dependencies;
mod differential;
mod etcd;
mod failover;
mod foreign_types;
mod fuzz;
mod model;
mod mutants;
mod packages;
mod peers;
mod pictures;
mod seeds;
mod sim;
mod test;
mod texts;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xshell::Shell;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The tasks of the etcd-lock workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure how fast it is beside its peers and the floor that etcd sets.
    Bench {
        /// `--json FILE`, `--plot`, `--rounds N`, `--only WORD`: see `cargo xtask bench -- --help`. Or `--plot FILE`: draw
        /// what an earlier run wrote with `--json`. Or `failover [--rounds N]`: how long lock cycles stop when the leader
        /// dies.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the book of `docs` into `target/book`; mdBook is installed first.
    Book,
    /// The preprocessor that mdBook runs.
    #[command(hide = true)]
    BookLinks { arguments: Vec<String> },
    /// Check everything that must pass before a change is taken.
    Ci {
        /// All of it but the tests, for where `cargo xtask test` runs them all.
        #[arg(long)]
        without_tests: bool,
        /// One part of it alone: lint, features, packages, foreign-types, oldest-rust, semver, test, model, walks, sim or
        /// mutants.
        #[arg(long, value_name = "PART", conflicts_with = "without_tests")]
        only: Option<String>,
    },
    /// Generate the code of etcd-lock-proto from the .proto files.
    Codegen {
        /// Write nothing, fail when the committed files are not up to date.
        #[arg(long)]
        check: bool,
    },
    /// Ask the in-memory etcd and a real one the same, made up by chance, and compare every answer.
    Differential {
        /// For how long.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// The etcd to compare with, 3.4 or 3.5; one after the other of those that the tests use where it isn't given.
        #[arg(long)]
        etcd: Option<PathBuf>,
        /// The seed of the first sequence; chosen by chance where it isn't given.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Look for inputs that break what reads bytes from outside, by a fuzzer that coverage guides.
    Fuzz {
        /// One target, by the name of its corpus; all of them where it isn't given.
        target: Option<String>,
        /// For how long each.
        #[arg(long, default_value_t = 1)]
        minutes: u64,
    },
    /// Check all that can be checked without running the code: generated files, format, lints, documentation, tidy.
    Lint,
    /// Check all that takes too long for `ci`: clusters, clients of other languages, all deliberate bugs, many worlds.
    Nightly,
    /// Check the state machine of the lock exhaustively, and that deliberate bugs are noticed; or walk through random
    /// worlds of it.
    Model {
        /// Walk through so many worlds instead, one for each seed.
        #[arg(long, value_name = "N")]
        walks: Option<u64>,
        /// The first seed. Without it half of the seeds are those from 0 on, and half come from the commit.
        #[arg(long, requires = "walks")]
        start: Option<u64>,
        /// Print all that happens in the walk of this one seed, made shorter where it fails.
        #[arg(long, value_name = "SEED", conflicts_with = "walks")]
        replay: Option<u64>,
    },
    /// Draw the pictures of the documentation from real runs.
    Pictures,
    /// Simulate processes that lock, crash, stall and lose messages: one world for each seed.
    Sim {
        /// How many seeds.
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
        /// The first seed. Without it half of the seeds are those from 0 on, and half come from the commit.
        #[arg(long)]
        start: Option<u64>,
        /// Print all that happens in this one seed, made smaller where it fails.
        #[arg(long, conflicts_with_all = ["seeds", "start"])]
        replay: Option<u64>,
        /// Put one deliberate bug after the other into a copy of the sources: each must be noticed, as what it is. All of
        /// them where none is named.
        #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with_all = ["seeds", "start", "replay"])]
        mutants: Option<Vec<String>>,
        /// Write how the deliberate bugs fared into this file, as a table in Markdown.
        #[arg(long, value_name = "FILE", requires = "mutants")]
        table: Option<PathBuf>,
    },
    /// Run all tests, on a real etcd, too: it is found or installed first.
    Test {
        /// Run only clients of other languages, unchanged, on the in-memory etcd; they are installed first.
        #[arg(long)]
        clients: bool,
        /// Run only the scenarios on three real members that die, hang, restart and are cut off, and print what happened.
        #[arg(long, conflicts_with = "clients")]
        cluster: bool,
    },
    /// Check the rules that no compiler checks: dependencies between crates, manifests, licences, what files contain.
    Tidy,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result {
    let sh = Shell::new()?;
    sh.change_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    match command {
        Command::Bench { arguments } => bench::run(&sh, &arguments),
        Command::Book => book::build(&sh),
        Command::BookLinks { arguments } => book::preprocess(&arguments),
        Command::Ci {
            without_tests,
            only,
        } => ci::run(&sh, !without_tests, only.as_deref()),
        Command::Codegen { check } => codegen::run(&sh, check),
        Command::Differential {
            minutes,
            etcd,
            seed,
        } => match etcd {
            Some(etcd) => differential::run(&sh, minutes, &etcd, seed),
            None => differential::all(&sh, minutes),
        },
        Command::Fuzz { target, minutes } => fuzz::run(&sh, target.as_deref(), minutes),
        Command::Lint => ci::lint(&sh),
        Command::Nightly => ci::nightly(&sh),
        Command::Model {
            replay: Some(seed), ..
        } => model::replay(&sh, seed),
        Command::Model {
            walks: Some(walks),
            start,
            ..
        } => model::walk(&sh, walks, start),
        Command::Model { .. } => model::run(&sh),
        Command::Pictures => pictures::run(&sh),
        Command::Sim {
            mutants: Some(names),
            table,
            ..
        } => mutants::run(&sh, &names, table.as_deref()),
        Command::Sim {
            replay: Some(seed), ..
        } => sim::replay(&sh, seed),
        Command::Sim { seeds, start, .. } => sim::run(&sh, seeds, start),
        Command::Test { clients: true, .. } => clients::run(&sh),
        Command::Test { cluster: true, .. } => cluster::run(&sh),
        Command::Test { .. } => test::run(&sh, test::Scope::All),
        Command::Tidy => tidy::run(&sh),
    }
}
