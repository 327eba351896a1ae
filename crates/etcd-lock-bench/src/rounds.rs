//! Rounds in which two sides take turns.

/// The measured values of both sides, round by round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds(Vec<Round>);

#[derive(Clone, Copy, Debug)]
struct Round {
    ours: f64,
    reference: f64,
}

impl Rounds {
    pub(crate) fn push(&mut self, (ours, reference): (f64, f64)) {
        self.0.push(Round { ours, reference });
    }

    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn ours(&self) -> f64 {
        median(self.0.iter().map(|round| round.ours).collect())
    }

    pub(crate) fn reference(&self) -> f64 {
        median(self.0.iter().map(|round| round.reference).collect())
    }

    /// The median of the rounds' ratios: what else the machine did hit both sides of a round.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.ratios().collect())
    }

    /// The least and the greatest ratio of a round.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let least = self.ratios().fold(f64::INFINITY, f64::min);
        (least, self.ratios().fold(f64::NEG_INFINITY, f64::max))
    }

    fn ratios(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|round| round.ours / round.reference)
    }
}

/// Lets both sides take their turn. Which comes first changes from round to round, since the first leaves something behind
/// for the second: memory to collect, revisions to compact.
pub(crate) async fn in_turn<T>(
    round: usize,
    ours: impl AsyncFnOnce() -> T,
    reference: impl AsyncFnOnce() -> T,
) -> (T, T) {
    if round.is_multiple_of(2) {
        let reference = reference().await;
        (ours().await, reference)
    } else {
        let ours = ours().await;
        (ours, reference().await)
    }
}

/// Both sides take turns, so often.
pub(crate) async fn rounds(
    count: usize,
    ours: impl AsyncFn() -> f64,
    reference: impl AsyncFn() -> f64,
) -> Rounds {
    let mut rounds = Rounds::default();
    for round in 0..count {
        rounds.push(in_turn(round, &ours, &reference).await);
    }
    rounds
}

/// Lets our side take its turn between two others, which change places from round to round.
pub(crate) async fn between<T>(
    round: usize,
    one: impl AsyncFnOnce() -> T,
    ours: impl AsyncFnOnce() -> T,
    other: impl AsyncFnOnce() -> T,
) -> (T, T, T) {
    if round.is_multiple_of(2) {
        let one = one().await;
        let ours = ours().await;
        (one, ours, other().await)
    } else {
        let other = other().await;
        let ours = ours().await;
        (one().await, ours, other)
    }
}

/// Runs rounds that do not count, until both sides do about what they did in the round before: connections, caches and the
/// allocator are as they will be.
pub(crate) async fn warm_up(round: impl AsyncFn() -> (f64, f64)) {
    let mut last = round().await;
    for _ in 1..WARM_UP_ROUNDS {
        let now = round().await;
        if is_near(now.0, last.0) && is_near(now.1, last.1) {
            return;
        }
        last = now;
    }
    eprintln!("  warning: still changing after {WARM_UP_ROUNDS} rounds of warm-up");
}

/// After so many rounds of warm-up the machine is too busy to settle: the spread will show it.
const WARM_UP_ROUNDS: usize = 8;

fn is_near(now: f64, before: f64) -> bool {
    (now / before - 1.0).abs() < 0.2
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_the_median_of_the_ratios_of_the_rounds() {
        let mut rounds = Rounds::default();
        for round in [(10.0, 1.0), (30.0, 10.0), (8.0, 4.0)] {
            rounds.push(round);
        }
        assert_eq!((rounds.ours(), rounds.reference()), (10.0, 4.0));
        assert_eq!(rounds.ratio(), 3.0);
        assert_eq!(rounds.spread(), (2.0, 10.0));
    }

    #[tokio::test]
    async fn the_side_that_comes_first_changes() {
        for (round, expected) in [(0, "ro"), (1, "or"), (2, "ro")] {
            let order = std::cell::RefCell::new(String::new());
            let say = async |side: &str| order.borrow_mut().push_str(side);
            in_turn(round, async || say("o").await, async || say("r").await).await;
            assert_eq!(order.into_inner(), expected);
        }
    }

    #[tokio::test]
    async fn ours_is_beside_both_others() {
        for (round, expected) in [(0, "aob"), (1, "boa")] {
            let order = std::cell::RefCell::new(String::new());
            let say = async |side: &'static str| {
                order.borrow_mut().push_str(side);
                side
            };
            let one = async || say("a").await;
            let sides = between(round, one, async || say("o").await, async || say("b").await);
            assert_eq!(sides.await, ("a", "o", "b"));
            assert_eq!(order.into_inner(), expected);
        }
    }

    #[tokio::test]
    async fn warm_up_ends_when_both_sides_have_settled() {
        let took = std::cell::RefCell::new(vec![(1.0, 9.0), (1.0, 5.0), (1.1, 5.1)]);
        warm_up(async || took.borrow_mut().remove(0)).await;
        assert!(took.into_inner().is_empty());
    }
}
