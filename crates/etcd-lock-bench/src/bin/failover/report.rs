//! The table, and whether the bars are met.

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::client::Program;
use crate::rounds::{Fault, Round};

impl Fault {
    /// By how much the median gap of our cycles may be longer than the election: the time to find out and to reconnect. A
    /// stopped member is only found out by the time that one attempt may take.
    const fn bar(self) -> Duration {
        match self {
            Self::Killed => Duration::from_millis(250),
            Self::Stopped => Duration::from_secs(2),
        }
    }
}

/// A line for each client and fault.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Line>);

#[derive(Debug)]
struct Line {
    fault: Fault,
    client: String,
    election: Duration,
    gap: Duration,
    longest: Duration,
    /// The median of gap minus election, round by round.
    above: Duration,
    sessions_lost: usize,
    errors: usize,
    /// Bars are ours alone.
    is_ours: bool,
}

impl Report {
    pub(crate) fn add(&mut self, fault: Fault, programs: &[Program], rounds: &[Round]) {
        for (number, program) in programs.iter().enumerate() {
            let ours = rounds.iter().map(|round| &round.clients[number]);
            let gaps = ours.clone().map(|client| client.gap);
            let above = rounds
                .iter()
                .map(|round| round.clients[number].gap.saturating_sub(round.election));
            self.0.push(Line {
                fault,
                client: program.name.clone(),
                election: median(rounds.iter().map(|round| round.election)),
                gap: median(gaps.clone()),
                longest: gaps.max().unwrap_or_default(),
                above: median(above),
                sessions_lost: ours.clone().map(|client| client.sessions_lost).sum(),
                errors: ours.map(|client| client.errors).sum(),
                is_ours: number == 0,
            });
        }
    }

    /// Whether all of our bars are met.
    pub(crate) fn is_met(&self) -> bool {
        self.0.iter().all(Line::is_met)
    }
}

impl Line {
    fn is_met(&self) -> bool {
        !self.is_ours || (self.above <= self.fault.bar() && self.sessions_lost == 0)
    }

    fn verdict(&self) -> &'static str {
        match (self.is_ours, self.is_met()) {
            (false, _) => "-",
            (true, true) => "yes",
            (true, false) => "NO",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "fault",
            "client",
            "election",
            "median gap",
            "longest gap",
            "above election",
            "must",
            "sessions lost",
            "errors",
            "met",
        ]);
        for line in &self.0 {
            let must = format!("≤ {:.2} s, none lost", line.fault.bar().as_secs_f64());
            table.add_row([
                line.fault.to_string(),
                line.client.clone(),
                seconds(line.election),
                seconds(line.gap),
                seconds(line.longest),
                seconds(line.above),
                if line.is_ours { must } else { "-".to_owned() },
                line.sessions_lost.to_string(),
                line.errors.to_string(),
                line.verdict().to_owned(),
            ]);
        }
        for number in [2, 3, 4, 5, 7, 8] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.fmt(f)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    let middle = times.len() / 2;
    match times.len() {
        0 => Duration::ZERO,
        even if even % 2 == 0 => (times[middle - 1] + times[middle]) / 2,
        _ => times[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(above: u64, sessions_lost: usize, is_ours: bool) -> Line {
        Line {
            fault: Fault::Killed,
            client: String::new(),
            election: Duration::ZERO,
            gap: Duration::ZERO,
            longest: Duration::ZERO,
            above: Duration::from_millis(above),
            sessions_lost,
            errors: 0,
            is_ours,
        }
    }

    #[test]
    fn a_missed_bar_or_a_lost_session_of_ours_is_a_failure() {
        assert!(Report(vec![line(250, 0, true), line(900, 3, false)]).is_met());
        assert!(!Report(vec![line(251, 0, true)]).is_met());
        assert!(!Report(vec![line(0, 1, true)]).is_met());
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let of = |times: &[u64]| median(times.iter().copied().map(Duration::from_secs));
        assert_eq!(of(&[9, 1, 2]), Duration::from_secs(2));
        assert_eq!(of(&[9, 1, 2, 4]), Duration::from_secs(3));
    }
}
