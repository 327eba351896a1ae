//! The rules for texts: marks and characters that no file may contain, and the beginning of each source file.

use xshell::Shell;

use crate::Result;

/// Marks of work that isn't done, and tests that don't run. (Taken apart here, so that this file passes, too.)
const UNFINISHED: [&str; 4] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("FIX", "ME"),
    concat!("#[ign", "ore"),
];

/// Where packages come from is configured on each machine, where it may be a mirror: no file names a registry's host.
const REGISTRIES: [&str; 4] = [
    concat!("crates", ".io"),
    concat!("deb.debian", ".org"),
    concat!("npmjs", ".org"),
    concat!("pypi", ".org"),
];

pub(super) fn check(sh: &Shell, files: &[String]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| is_text_of_ours(file)) {
        let bytes = sh.read_binary_file(file)?;
        let text = String::from_utf8_lossy(&bytes);
        problems.extend(file_problems(file, &text));
        problems.extend(line_problems(file, &text));
    }
    Ok(problems)
}

/// Lock files are their tools', the licences are not ours to write, a patch begins its empty lines with a blank, and a
/// corpus has any bytes.
fn is_text_of_ours(file: &str) -> bool {
    let others = ["LICENSE-APACHE", "LICENSE-MIT"];
    let kinds = ["Cargo.lock", ".png", ".svg", ".gif", ".patch"];
    let is_corpus = file.contains("/corpora/");
    !(is_corpus || others.contains(&file) || kinds.iter().any(|suffix| file.ends_with(suffix)))
}

fn file_problems(file: &str, text: &str) -> Option<String> {
    let is_source = file.ends_with(".rs") && !is_generated(file);
    let says = text.starts_with("//! ");
    (is_source && !says).then(|| format!("{file}: must begin with `//! ` and what it is about"))
}

fn line_problems(file: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut report = |what: String| problems.push(format!("{file}:{number}: {what}"));
        if line.ends_with([' ', '\t']) && !is_generated(file) {
            report("white space at the end of the line".to_owned());
        }
        if line.contains('\t') && file.ends_with(".rs") {
            report("a tab".to_owned());
        }
        for mark in UNFINISHED.iter().filter(|mark| line.contains(**mark)) {
            report(format!(
                "`{mark}` doesn't land: finish it, or file an issue"
            ));
        }
        for host in REGISTRIES.iter().filter(|host| line.contains(**host)) {
            report(format!("names the registry host {host}"));
        }
    }
    problems
}

fn is_generated(file: &str) -> bool {
    file.contains("/generated/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_begin_with_what_they_are_about() {
        assert!(file_problems("a.rs", "use std::fmt;").is_some());
        assert!(file_problems("a.rs", "//! About a.").is_none());
        assert!(file_problems("a/generated/b.rs", "// generated").is_none());
        assert!(file_problems("a.md", "A").is_none());
    }

    #[test]
    fn lines_are_finished_and_clean() {
        let bad = format!("trailing \n\ttab\n{}\n{}", UNFINISHED[3], REGISTRIES[0]);
        assert_eq!(line_problems("a.rs", &bad).len(), 4);
        assert_eq!(line_problems("a.rs", "//! Fine.\n").len(), 0);
    }

    #[test]
    fn files_of_others_are_left_alone() {
        assert!(!is_text_of_ours("Cargo.lock"));
        assert!(!is_text_of_ours("crates/x/corpora/a/b"));
        assert!(is_text_of_ours("crates/x/src/lib.rs"));
    }
}
