//! Clocks of clients, as far as their records tell.

use std::collections::BTreeMap;

use crate::history::{Client, Micros};

/// For each client what its clock showed, by the observer's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Clocks(BTreeMap<Client, Vec<(Micros, Micros)>>);

impl Clocks {
    /// A client's clock shows this at that time. Times come in order; where a clock jumps there are two of one time.
    pub(super) fn note(&mut self, client: Client, at: Micros, clock: Micros) {
        let shown = self.0.entry(client).or_default();
        match shown.last_mut() {
            Some(last) if last.0 > at || *last == (at, clock) => last.1 = clock,
            _ => shown.push((at, clock)),
        }
    }

    /// How much time passes on a client's clock between two times of the observer's. Between two records a clock is taken to run evenly,
    /// and before the first and after the last as the observer's does.
    pub(super) fn passed(&self, client: Client, from: Micros, to: Micros) -> Micros {
        self.passed_since(client, from, to, at)
    }

    /// The same, where the clock may have jumped just after the first of the two times.
    pub(super) fn passed_at_most(&self, client: Client, from: Micros, to: Micros) -> Micros {
        self.passed_since(client, from, to, before_a_jump)
    }

    fn passed_since(
        &self,
        client: Client,
        from: Micros,
        to: Micros,
        began: fn(&[(Micros, Micros)], Micros) -> i128,
    ) -> Micros {
        let Some(shown) = self.0.get(&client) else {
            return to.saturating_sub(from);
        };
        u64::try_from(at(shown, to) - began(shown, from)).unwrap_or(0)
    }
}

/// The time that a clock shows at a time of the world.
fn at(shown: &[(Micros, Micros)], time: Micros) -> i128 {
    let after = shown.partition_point(|(at, _)| *at <= time);
    let at_rate_one =
        |(at, clock): (Micros, Micros)| i128::from(clock) + i128::from(time) - i128::from(at);
    match (after.checked_sub(1).map(|i| shown[i]), shown.get(after)) {
        (Some((at, clock)), Some((next_at, next_clock))) => {
            let all = i128::from(*next_clock) - i128::from(clock);
            let part = i128::from(time - at);
            i128::from(clock) + all * part / i128::from(next_at - at).max(1)
        }
        (Some(before), None) => at_rate_one(before),
        (None, Some(first)) => at_rate_one(*first),
        (None, None) => i128::from(time),
    }
}

/// The same, where a clock that jumps at this time has not done so yet.
fn before_a_jump(shown: &[(Micros, Micros)], time: Micros) -> i128 {
    let first = shown.partition_point(|(at, _)| *at < time);
    match shown.get(first) {
        Some((at, clock)) if *at == time => i128::from(*clock),
        _ => at(shown, time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_as_the_records_tell() {
        let client = Client::new(1, 1);
        let mut clocks = Clocks::default();
        assert_eq!(clocks.passed(client, 10, 30), 20, "nothing is known");
        clocks.note(client, 100, 1_000);
        clocks.note(client, 200, 1_050);
        clocks.note(client, 200, 1_060);
        assert_eq!(clocks.passed(client, 100, 200), 60);
        assert_eq!(clocks.passed(client, 150, 200), 35);
        assert_eq!(clocks.passed(client, 50, 150), 75);
        assert_eq!(clocks.passed(client, 200, 300), 100);
        assert_eq!(clocks.passed_at_most(client, 200, 300), 110);
        assert_eq!(clocks.passed_at_most(client, 150, 200), 35);
    }

    /// A clock that stood still, or was put back, is no reason to be wrong.
    #[test]
    fn a_clock_that_goes_back_passes_no_time() {
        let client = Client::new(1, 1);
        let mut clocks = Clocks::default();
        clocks.note(client, 100, 1_000);
        clocks.note(client, 200, 900);
        assert_eq!(clocks.passed(client, 100, 200), 0);
    }
}
