//! Rounds in which two sides take turns.

/// What both sides did, round by round.
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
}
