//! Records the program at a terminal, for the documentation: `cargo xtask pictures`.
//!
//! Each picture is an SVG of what was on the screen, frame by frame, of a real run on `etcd-lock serve`.

#![allow(
    clippy::unwrap_used,
    reason = "a picture that can't be drawn has no use: a panic says why"
)]

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "program/terminal.rs"]
mod terminal;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use terminal::Terminal;

/// How long a frame is seen.
const FRAME: Duration = Duration::from_millis(200);

/// The width of a picture, and the height of a line in it.
const WIDTH: usize = 1048;
const LINE: usize = 18;

/// How long the last frame is seen, before the recording begins anew.
const REST: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| PathBuf::from("."));
    std::fs::create_dir_all(&directory).unwrap();
    let stage = Stage::new().await;
    for (name, frames) in [
        ("waiting", stage.waiting().await),
        ("loss", stage.loss().await),
        ("status", stage.status().await),
    ] {
        let file = directory.join(name).with_extension("svg");
        std::fs::write(&file, animated(&frames)).unwrap();
        println!("{}", file.display());
    }
}

/// An etcd, and a directory with scripts to run.
struct Stage {
    _etcd: Child,
    endpoint: String,
    directory: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let mut serve = Command::new(program());
        serve.args(["serve", "--listen", "127.0.0.1:0"]);
        serve.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut etcd = serve.kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(etcd.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let directory = tempfile::tempdir().unwrap();
        for (name, script) in [
            ("report.sh", "echo 'the report is written'\n"),
            (
                "deploy.sh",
                "trap 'echo \"stopped in time\"; exit' TERM\n\
                 for step in build push switch; do echo \"$step ...\"; sleep 1.2 & wait $!; done\n",
            ),
        ] {
            let file = directory.path().join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{script}")).unwrap();
            std::fs::set_permissions(&file, executable()).unwrap();
        }
        Self {
            _etcd: etcd,
            endpoint: line.strip_prefix("listening on ").unwrap().to_owned(),
            directory,
        }
    }

    /// A wait for two others.
    async fn waiting(&self) -> Vec<Frame> {
        let _first = self.run(&["nightly", "--note", "last night's report", "sleep", "3"]);
        self.entries("nightly", 1).await;
        let _second = self.run(&["nightly", "sleep", "2"]);
        self.entries("nightly", 2).await;
        self.record("etcd-lock run nightly -- ./report.sh", "is written")
            .await
    }

    /// A hold that an operator breaks while the command runs.
    async fn loss(&self) -> Vec<Frame> {
        let breaking = async {
            self.entries("deploy", 1).await;
            // Long enough for a reader to see the command at work.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let status = self
                .command(&["status", "deploy", "-o", "json"])
                .output()
                .await;
            let status: serde_json::Value =
                serde_json::from_slice(&status.unwrap().stdout).unwrap();
            let lease = status["holder"]["lease"].as_str().unwrap();
            let args = ["break", "deploy", "--holder", lease];
            self.command(&args).output().await.unwrap();
        };
        let line = "etcd-lock run deploy -- ./deploy.sh; echo \"exit status $?\"";
        let (frames, ()) = tokio::join!(self.record(line, "exit status 79"), breaking);
        frames
    }

    /// A queue that fills and empties.
    async fn status(&self) -> Vec<Frame> {
        let filling = async {
            let mut processes = Vec::new();
            for (number, note) in ["api", "worker", "cron"].into_iter().enumerate() {
                // Each state is seen for a while.
                tokio::time::sleep(Duration::from_millis(700)).await;
                processes.push(self.run(&["migrate", "--note", note, "sleep", "2"]));
                self.entries("migrate", number + 1).await;
            }
            for mut process in processes {
                process.wait().await.unwrap();
            }
        };
        let mut terminal = self.terminal("etcd-lock status migrate --watch").await;
        let (mut frames, mut filling) = (Vec::new(), std::pin::pin!(filling));
        loop {
            tokio::select! {
                () = &mut filling => break,
                _ = terminal.watch(FRAME) => frames.push(Frame::of(terminal.screen())),
            }
        }
        terminal.shows("is free").await;
        frames.push(Frame::of(terminal.screen()));
        frames
    }

    /// Types a line, and records until the end of it is seen.
    async fn record(&self, line: &str, end: &str) -> Vec<Frame> {
        let mut terminal = self.terminal(line).await;
        let mut frames = vec![Frame::of(terminal.screen())];
        while !terminal.screen().contents().replace(line, "").contains(end) {
            terminal.watch(FRAME).await;
            frames.push(Frame::of(terminal.screen()));
        }
        frames
    }

    /// A shell at which a line has been typed.
    async fn terminal(&self, line: &str) -> Terminal {
        let mut shell = terminal::shell("$ ");
        let path = std::env::var("PATH").unwrap_or_default();
        let ours = program().parent().unwrap().display().to_string();
        shell.env("PATH", format!("{ours}:{path}"));
        shell.env("ETCD_LOCK_ENDPOINTS", &self.endpoint);
        shell.current_dir(self.directory.path());
        let mut terminal = Terminal::start(&shell);
        terminal.shows("$").await;
        terminal.press(&format!("{line}\n"));
        terminal.shows(line).await;
        terminal
    }

    /// The program elsewhere, which nobody sees.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .env("ETCD_LOCK_ENDPOINTS", &self.endpoint);
        command.kill_on_drop(true);
        command
    }

    fn run(&self, args: &[&str]) -> Child {
        let args = [&["run", "--quiet"], args].concat();
        self.command(&args).spawn().unwrap()
    }

    /// Waits until the queue of a lock has so many entries.
    async fn entries(&self, name: &str, count: usize) {
        loop {
            let status = self.command(&["status", name, "-o", "json"]).output().await;
            let status: serde_json::Value =
                serde_json::from_slice(&status.unwrap().stdout).unwrap();
            let waiters = status["waiters"].as_array().unwrap().len();
            if usize::from(!status["holder"].is_null()) + waiters >= count {
                return;
            }
        }
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_etcd-lock"))
}

fn executable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

/// What is on a screen, line by line, with the codes of its colours.
#[derive(PartialEq)]
struct Frame(Vec<String>);

impl Frame {
    fn of(screen: &vt100::Screen) -> Self {
        let (rows, columns) = screen.size();
        let line = |row| {
            let cells = (0..columns.get()).filter_map(|column| screen.cell(row, column));
            let cells: Vec<_> = cells.collect();
            let used = cells.iter().rposition(|cell| cell.has_contents());
            let used = used.map_or(0, |last| last + 1);
            cells[..used].iter().map(|cell| coloured(cell)).collect()
        };
        let mut lines: Vec<String> = (0..rows.get()).map(line).collect();
        let used = lines.iter().rposition(|line| !line.is_empty());
        lines.truncate(used.map_or(0, |last| last + 1));
        Self(lines)
    }

    /// A picture of so many lines.
    fn picture(&self, lines: usize) -> String {
        let missing = lines.saturating_sub(self.0.len());
        // A line without anything in it would have no height.
        let text = self.0.join("\n") + &"\n ".repeat(missing);
        anstyle_svg::Term::new()
            .min_width_px(WIDTH)
            .render_svg(&text)
    }
}

fn coloured(cell: &vt100::Cell) -> String {
    let style = anstyle::Style::new().fg_color(colour(cell.fgcolor()));
    let style = if cell.bold() { style.bold() } else { style };
    let shown = if cell.has_contents() {
        cell.contents()
    } else {
        " "
    };
    format!("{style}{shown}{style:#}")
}

fn colour(colour: vt100::Color) -> Option<anstyle::Color> {
    match colour {
        vt100::Color::Default => None,
        vt100::Color::Idx(index) => Some(anstyle::Ansi256Color(index).into()),
        vt100::Color::Rgb(r, g, b) => Some(anstyle::RgbColor(r, g, b).into()),
    }
}

/// Frames that are seen one after the other, and then from the first one again.
fn animated(frames: &[Frame]) -> String {
    let lines = frames.iter().map(|frame| frame.0.len()).max().unwrap_or(0);
    let mut shown: Vec<(&Frame, Duration)> = Vec::new();
    for frame in frames {
        match shown.last_mut() {
            Some((last, time)) if *last == frame => *time += FRAME,
            _ => shown.push((frame, FRAME)),
        }
    }
    if let Some((_, time)) = shown.last_mut() {
        *time = REST;
    }
    let whole: Duration = shown.iter().map(|(_, time)| *time).sum();
    let height = LINE * lines + 2 * LINE;
    let mut svg =
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\">\n");
    let mut begin = Duration::ZERO;
    for (frame, time) in shown {
        let times = [begin, begin + time].map(|at| at.div_duration_f64(whole));
        svg += &seen(&frame.picture(lines), times, whole);
        begin += time;
    }
    svg + "</svg>\n"
}

/// A picture that is seen during a part of the whole time.
fn seen(picture: &str, [begin, end]: [f64; 2], whole: Duration) -> String {
    format!(
        "<g visibility=\"hidden\"><animate attributeName=\"visibility\" calcMode=\"discrete\" \
         repeatCount=\"indefinite\" dur=\"{}s\" values=\"hidden;visible;hidden;hidden\" \
         keyTimes=\"0;{begin:.4};{end:.4};1\"/>\n{picture}</g>\n",
        whole.as_secs_f64()
    )
}
