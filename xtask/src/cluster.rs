//! `cargo xtask test --cluster`: locks on three real members while members die, hang, restart and are cut off.

use std::fs;
use std::path::Path;

use xshell::{Shell, cmd};

use crate::{Result, etcd, test};

/// Names the directory that each scenario writes its line into.
const REPORT_VARIABLE: &str = "ETCD_LOCK_CLUSTER_REPORT";

/// How many scenarios run at once. They wait most of the time, and more would disturb each other's recovery times.
const AT_ONCE: &str = "2";

const HEADER: [&str; 4] = ["fault", "etcd", "what happened to callers", "recovered in"];

/// Runs all scenarios, and prints for each what happened to callers and how long it took them to recover.
pub(crate) fn run(sh: &Shell) -> Result {
    etcd::provide(sh)?;
    etcd::provide_35(sh)?;
    let reports = tempfile::tempdir()?;
    sh.set_var(REPORT_VARIABLE, reports.path());
    let target = ["--package", "etcd-lock-testkit", "--test", "cluster"];
    let ran = if test::has_nextest(sh) {
        cmd!(
            sh,
            "cargo nextest run {target...} --profile cluster --test-threads {AT_ONCE}"
        )
        .run()
    } else {
        cmd!(sh, "cargo test {target...} -- --test-threads {AT_ONCE}").run()
    };
    println!("\n{}", table(lines(reports.path())?));
    Ok(ran?)
}

/// The lines that the scenarios wrote, sorted.
fn lines(reports: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(reports)? {
        lines.push(fs::read_to_string(entry?.path())?.trim_end().to_owned());
    }
    lines.sort();
    Ok(lines)
}

/// A Markdown table of lines whose cells are separated by tabs.
fn table(lines: Vec<String>) -> String {
    let mut rows = vec![HEADER.to_vec()];
    rows.extend(lines.iter().map(|line| line.split('\t').collect()));
    let width = |column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell: &&str| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..HEADER.len()).map(width).collect();
    let mut lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            format!("| {} |", cells.join(" | "))
        })
        .collect();
    let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    lines.insert(1, format!("| {} |", rules.join(" | ")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let table = table(vec!["leader killed\t3.4.23\tgranted\t1.20 s".to_owned()]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "| fault         | etcd   | what happened to callers | recovered in |",
                "| ------------- | ------ | ------------------------ | ------------ |",
                "| leader killed | 3.4.23 | granted                  | 1.20 s       |",
            ]
        );
    }
}
