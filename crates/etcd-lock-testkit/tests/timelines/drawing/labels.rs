//! Where texts are placed, so that none covers another.

/// The room between a text and its neighbour.
const SPACE: i64 = 6;

/// A label above a row, to the right of the line from it to its mark.
pub(super) struct Label {
    /// Where the mark is that it belongs to.
    pub(super) at: i64,
    /// How many lines above the row, counted from 0.
    pub(super) line: i64,
    pub(super) text: String,
}

impl Label {
    /// Where its text begins.
    pub(super) const fn begin(&self) -> i64 {
        self.at + SPACE
    }

    fn end(&self) -> i64 {
        self.begin() + width(&self.text)
    }
}

/// Places labels, which come from left to right. A label that would overlap the next one is placed above it.
pub(super) fn placed(labels: Vec<(i64, String)>) -> Vec<Label> {
    let mut placed: Vec<Label> = Vec::new();
    for (at, text) in labels.into_iter().rev() {
        let line = 0;
        let mut label = Label { at, line, text };
        let end = label.end() + SPACE;
        let in_the_way = placed.iter().filter(|later| later.at < end);
        let lines = in_the_way.map(|later| later.line + 1);
        label.line = lines.max().unwrap_or(0);
        placed.push(label);
    }
    placed
}

/// The left end of the text of a bar, where the text covers no mark. `None` if there is no room.
pub(super) fn inside(text: &str, [begin, end]: [i64; 2], marks: &[i64]) -> Option<i64> {
    let behind = marks.iter().map(|mark| mark + SPACE);
    let starts = [begin].into_iter().chain(behind).map(|at| at + SPACE);
    let mut fitting = starts.filter(|start| {
        let stop = start + width(text) + SPACE;
        let covers = |mark: &i64| (start - SPACE..stop + SPACE).contains(mark);
        *start > begin && stop <= end && !marks.iter().any(covers)
    });
    fitting.next()
}

/// About how wide a text is.
fn width(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX / 8) * 7
}
