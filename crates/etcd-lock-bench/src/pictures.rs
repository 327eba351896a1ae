//! The pictures of the documentation, drawn from the results of a run, and a page with the numbers that they show.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::measures::DISTINCT;
use crate::measures::distinct::{self, CYCLES};
use crate::measures::hand_overs::{self, PREDECESSOR, V3LOCK};
use crate::plot::{Line, Plot};
use crate::race::Share;
use crate::sides::Side;

/// Where they go.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pictures");

/// Draws the results that a run has written.
pub(crate) fn draw(json: &str) -> Result<(), Box<dyn Error>> {
    let results = Results::parse(json)?;
    let mut page = results.heading();
    for (name, plot) in [
        ("distinct-locks", distinct_locks(&results)),
        ("hand-overs", contended(&results)),
    ] {
        let file = Path::new(FOLDER).join(name).with_extension("svg");
        fs::write(&file, plot.to_svg()?)?;
        page += &section(name, &plot);
        println!("{}", file.display());
    }
    fs::write(Path::new(FOLDER).join("benchmarks.md"), page)?;
    Ok(())
}

/// What was measured, by the names of the rows: ours and the reference.
struct Results {
    rows: HashMap<String, (f64, f64)>,
    rounds: u64,
    cores: u64,
}

impl Results {
    fn parse(json: &str) -> Result<Self, Box<dyn Error>> {
        let saved: Vec<Value> = serde_json::from_str(json)?;
        let number = |row: &Value, key: &str| row[key].as_f64();
        let most = |key: &str| saved.iter().filter_map(|row| row[key].as_u64()).max();
        let rows = saved.iter().filter_map(|row| {
            let values = (number(row, "value")?, number(row, "reference")?);
            Some((row["measure"].as_str()?.to_owned(), values))
        });
        Ok(Self {
            rows: rows.collect(),
            rounds: most("rounds").ok_or("the results don't say how many rounds there were")?,
            cores: most("cores").ok_or("the results don't say how many cores there were")?,
        })
    }

    /// A line of what is found of it.
    fn line(
        &self,
        name: &'static str,
        xs: &[usize],
        row: impl Fn(usize) -> String,
        value: fn(&(f64, f64)) -> f64,
    ) -> Line {
        let point = |x: &usize| Some((*x as f64, value(self.rows.get(&row(*x))?)));
        let points = xs.iter().filter_map(point).collect();
        Line { name, points }
    }

    fn heading(&self) -> String {
        let Self { rounds, cores, .. } = self;
        let rounds = match rounds {
            1 => "one round".to_owned(),
            _ => format!("the median of up to {rounds} rounds"),
        };
        format!(
            "# Pictures of the benchmark\n\n\
             `cargo xtask bench --plot` has drawn them and written this page. Each number is {rounds}, on {cores} cores that \
             etcd and its clients shared.\n"
        )
    }
}

/// Cycles of one process on locks that nobody else wants.
fn distinct_locks(results: &Results) -> Plot {
    let beside = |peer| move |tasks| distinct::name(CYCLES, tasks, peer);
    let mut lines = vec![results.line("etcd-lock", &DISTINCT, beside(Side::Go), |row| row.0)];
    for peer in [Side::Go, Side::EtcdClient, Side::V3lock, Side::Bare] {
        lines.push(results.line(peer.name(), &DISTINCT, beside(peer), |row| row.1));
    }
    Plot {
        title: "Locks of one process that nobody else wants",
        x: "tasks, each with a lock of its own",
        y: "cycles of lock and unlock (1/s)",
        lines,
    }
}

/// Hand-overs of one lock between clients that share nothing.
fn contended(results: &Results) -> Plot {
    const CONTENDERS: [usize; 4] = [2, 10, 50, 500];
    let beside = |peer| move |count| hand_overs::name(count, Share::Nothing.noun(), peer);
    let line = |name, peer, value| results.line(name, &CONTENDERS, beside(peer), value);
    Plot {
        title: "One lock that all clients want",
        x: "contenders, each with connections of its own",
        y: "hand-overs (1/s)",
        lines: vec![
            line("etcd-lock", V3LOCK, |row| row.0),
            line("v3lock", V3LOCK, |row| row.1),
            line("predecessor stubs", PREDECESSOR, |row| row.1),
        ],
    }
}

/// A picture with its numbers as a table.
fn section(name: &str, plot: &Plot) -> String {
    let mut text = format!("\n## {}\n\n![{}]({name}.svg)\n\n", plot.title, plot.title);
    let names: Vec<_> = plot.lines.iter().map(|line| line.name).collect();
    let _ = writeln!(text, "{}:\n", capitalized(plot.y));
    let _ = writeln!(text, "| {} | {} |", plot.x, names.join(" | "));
    let _ = writeln!(text, "| ---: |{}", " ---: |".repeat(names.len()));
    for x in plot.xs() {
        let _ = write!(text, "| {x} |");
        for line in &plot.lines {
            let found = line.points.iter().find(|point| point.0 == x);
            let value = found.map_or_else(|| "-".to_owned(), |(_, y)| format!("{y:.0}"));
            let _ = write!(text, " {value} |");
        }
        text.push('\n');
    }
    text
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Names are the ones that the measures give to their rows.
    #[test]
    fn lines_are_found_in_the_results_of_a_run() {
        let row = |measure: String, value: f64, reference: f64| json!({ "measure": measure, "value": value, "reference": reference, "rounds": 5, "cores": 2 });
        let json = json!([
            row(distinct::name(CYCLES, 8, Side::Go), 7000.0, 5000.0),
            row(distinct::name(CYCLES, 8, Side::V3lock), 7000.0, 3000.0),
            row(hand_overs::name(2, "clients", PREDECESSOR), 1900.0, 2200.0),
        ]);
        let results = Results::parse(&json.to_string()).unwrap();
        let points = |plot: Plot| plot.lines.into_iter().map(|line| line.points);
        let distinct: Vec<_> = points(distinct_locks(&results)).collect();
        let one = |value| vec![(8.0, value)];
        assert_eq!(
            distinct,
            [one(7000.0), one(5000.0), vec![], one(3000.0), vec![]]
        );
        let contended: Vec<_> = points(contended(&results)).collect();
        assert_eq!(contended, [vec![], vec![], vec![(2.0, 2200.0)]]);
        let table = section("x", &distinct_locks(&results));
        assert!(
            table.contains("| 8 | 7000 | 5000 | - | 3000 | - |"),
            "{table}"
        );
    }
}
