//! `etcd-lock man`: the manual's pages, from the same definition as the help.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, ValueHint};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, roman};

use crate::command_line::definition;
use crate::exit::{Failure, OS};

/// What to do with the pages.
pub(crate) const ABOUT: &str = "\
Examples:
  etcd-lock man | man -l -
  etcd-lock man ~/.local/share/man/man1";

#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Directory for a page of each command [default: print the main page]
    #[arg(value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Prints the main page, or writes all pages to a directory.
pub(crate) fn run(args: &Man) -> Result<ExitCode, Failure> {
    let mut main = definition().disable_help_subcommand(true);
    main.build();
    match &args.dir {
        Some(dir) => write_all(dir, &main).map_err(|error| cant_write(dir, &error))?,
        None => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&page(&main, &main)?)?;
            stdout.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cant_write(dir: &Path, error: &io::Error) -> Failure {
    let text = format!(
        "can't write the pages to {}: {error}: name a directory that you may write to",
        dir.display()
    );
    Failure::new(OS, text)
}

fn write_all(dir: &Path, main: &Command) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for command in main.get_subcommands().chain([main]) {
        let file = Page::new(command.clone()).get_filename();
        fs::write(dir.join(file), page(command, main)?)?;
    }
    Ok(())
}

fn page(command: &Command, main: &Command) -> io::Result<Vec<u8>> {
    let source = format!("etcd-lock {}", env!("CARGO_PKG_VERSION"));
    let page = Page::new(command.clone())
        .source(source)
        .manual("etcd-lock");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let own = sections(command);
    let has_statuses = own.iter().any(|section| section.heading == STATUSES);
    let shared = sections(main)
        .into_iter()
        .filter(|section| section.heading == STATUSES && !has_statuses);
    for section in own.into_iter().chain(shared) {
        section.render(&mut text)?;
    }
    Ok(with_one_preamble(&String::from_utf8_lossy(&text)).into_bytes())
}

/// Each section comes with the definition of the apostrophe, and one is enough.
fn with_one_preamble(text: &str) -> String {
    const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    format!("{PREAMBLE}{}", text.replace(PREAMBLE, ""))
}

/// The section that each page has: its own, or the main page's.
const STATUSES: &str = "EXIT STATUS";

/// A part of what stands behind the options in the help.
struct Section {
    heading: String,
    lines: Vec<String>,
}

/// Takes the end of the help apart: a line that is not indented and ends with a colon is a heading.
fn sections(command: &Command) -> Vec<Section> {
    let end = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    let end = end.map(ToString::to_string).unwrap_or_default();
    let mut sections: Vec<Section> = Vec::new();
    for line in end.lines() {
        match (line.strip_suffix(':'), sections.last_mut()) {
            (Some(heading), _) if !line.starts_with(' ') => sections.push(Section {
                heading: heading.to_uppercase(),
                lines: Vec::new(),
            }),
            (_, Some(section)) => section.lines.push(line.to_owned()),
            (_, None) => sections.push(Section {
                heading: "NOTES".to_owned(),
                lines: vec![line.to_owned()],
            }),
        }
    }
    sections
}

impl Section {
    /// Line by line, as the help has it.
    fn render(&self, text: &mut Vec<u8>) -> io::Result<()> {
        let mut roff = Roff::new();
        roff.control("SH", [self.heading.as_str()]);
        roff.control("nf", []);
        let lines = self.lines.join("\n");
        for line in lines.trim_end().lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
        roff.to_writer(text)
    }
}
