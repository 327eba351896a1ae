//! Timelines as SVG: a row for each party, with bars for what lasts and marks for what happens, and arrows between rows.

mod labels;
mod palette;
mod shapes;

use etcd_lock_testkit::history::Micros;
use svg::Document;
use svg::node::Text as Words;
use svg::node::element::{Description, Group, Line, Path, Text, Title};

use self::labels::{Label, inside, placed};
pub(crate) use self::palette::{Bar, Mark};

/// The width of a picture, where its bars begin and end, and what is left free at its edges.
const WIDTH: i64 = 860;
const LEFT: i64 = 150;
const RIGHT: i64 = WIDTH - 32;
const EDGE: i64 = 14;

/// The height of a bar, of a line of labels above it, and of what is free below it.
const BAR: i64 = 26;
const LINE: i64 = 17;
const GAP: i64 = 16;

/// A picture of what happened between two times.
pub(crate) struct Timeline {
    title: &'static str,
    from: Micros,
    to: Micros,
    rows: Vec<Row>,
    arrows: Vec<[(usize, Micros); 2]>,
}

#[derive(Default)]
struct Row {
    name: String,
    bars: Vec<(Bar, [Micros; 2], String)>,
    marks: Vec<(Mark, Micros, String)>,
}

impl Timeline {
    pub(crate) const fn new(title: &'static str, from: Micros, to: Micros) -> Self {
        Self {
            title,
            from,
            to,
            rows: Vec::new(),
            arrows: Vec::new(),
        }
    }

    /// Adds a row below the others. Returns its number.
    pub(crate) fn row(&mut self, name: impl Into<String>) -> usize {
        self.rows.push(Row {
            name: name.into(),
            ..Row::default()
        });
        self.rows.len() - 1
    }

    /// Something that lasts. Its text is left out where it doesn't fit.
    pub(crate) fn bar(
        &mut self,
        row: usize,
        bar: Bar,
        [begin, end]: [Micros; 2],
        text: impl Into<String>,
    ) {
        self.rows[row].bars.push((bar, [begin, end], text.into()));
    }

    /// Something that happens.
    pub(crate) fn mark(&mut self, row: usize, mark: Mark, at: Micros, text: impl Into<String>) {
        self.rows[row].marks.push((mark, at, text.into()));
    }

    /// The second follows from the first.
    pub(crate) fn arrow(&mut self, from: (usize, Micros), to: (usize, Micros)) {
        self.arrows.push([from, to]);
    }

    /// The picture, with a description in words for screen readers.
    pub(crate) fn svg(&self) -> String {
        let labels: Vec<_> = self.rows.iter().map(|row| self.labels(row)).collect();
        let mut tops = Vec::new();
        let mut bottom = EDGE;
        for labels in &labels {
            let lines = labels.iter().map(|label| label.line + 1).max();
            tops.push(bottom + lines.unwrap_or(0) * LINE);
            bottom = tops[tops.len() - 1] + BAR + GAP;
        }
        let mut rows = Group::new();
        for ((row, labels), top) in self.rows.iter().zip(labels).zip(&tops) {
            rows = rows.add(self.drawn_row(row, labels, *top));
        }
        let mut arrows = Group::new();
        for arrow in &self.arrows {
            arrows = arrows.add(self.drawn_arrow(*arrow, &tops));
        }
        let height = bottom + 2 * LINE;
        let document = Document::new()
            .set("viewBox", (0, 0, WIDTH, height))
            .set("role", "img")
            .set("font-family", "system-ui, sans-serif")
            .set("font-size", 13)
            .add(Title::new(self.title))
            .add(Description::new().add(Words::new(self.words())))
            .add(palette::definitions())
            .add(palette::sheet(WIDTH, height))
            .add(self.drawn_axis(bottom))
            .add(rows)
            .add(arrows);
        format!("{document}\n")
    }

    fn x(&self, at: Micros) -> i64 {
        let part = at.saturating_sub(self.from) * u64::try_from(RIGHT - LEFT).unwrap();
        LEFT + i64::try_from(part / (self.to - self.from)).unwrap()
    }

    fn labels(&self, row: &Row) -> Vec<Label> {
        let mut marks: Vec<_> = row.marks.iter().collect();
        marks.sort_by_key(|(_, at, _)| *at);
        let labels = marks.into_iter();
        let labels = labels.map(|(_, at, text)| (self.x(*at), text.clone()));
        placed(labels.collect())
    }

    fn drawn_row(&self, row: &Row, labels: Vec<Label>, top: i64) -> Group {
        let name = Text::new(&row.name)
            .set("x", EDGE)
            .set("y", top + BAR - 8)
            .set("font-weight", "bold");
        let rail = Line::new()
            .set("x1", LEFT)
            .set("x2", RIGHT)
            .set("y1", top + BAR / 2)
            .set("y2", top + BAR / 2)
            .set("stroke", palette::RAIL);
        let mut group = Group::new().add(name).add(rail);
        let marks: Vec<_> = row.marks.iter().map(|(_, at, _)| self.x(*at)).collect();
        for (bar, [begin, end], text) in &row.bars {
            let span = [self.x(*begin), self.x(*end)];
            group = group.add(shapes::bar(*bar, span, top));
            if let Some(x) = inside(text, span, &marks) {
                let text = Text::new(text).set("x", x).set("y", top + BAR - 8);
                group = group.add(text.set("fill", bar.ink()));
            }
        }
        for label in labels {
            group = group
                .add(shapes::stem(&label, top))
                .add(shapes::text(&label, top));
        }
        for (mark, at, _) in &row.marks {
            group = group.add(shapes::mark(*mark, self.x(*at), top));
        }
        group
    }

    /// From a mark or the lower edge of a row to a mark or the upper edge of another one.
    fn drawn_arrow(&self, [from, to]: [(usize, Micros); 2], tops: &[i64]) -> Path {
        let has_mark = |(row, at): (usize, Micros)| {
            let mut marks = self.rows[row].marks.iter();
            marks.any(|(_, other, _)| *other == at)
        };
        let below = if has_mark(from) { BAR / 2 } else { BAR };
        let above = if has_mark(to) { BAR / 2 - 6 } else { 0 };
        let begin = (self.x(from.1), tops[from.0] + below);
        shapes::arrow(begin, (self.x(to.1), tops[to.0] + above))
    }

    fn drawn_axis(&self, y: i64) -> Group {
        let length = self.to - self.from;
        let step = STEPS.into_iter().find(|step| length / step < 11);
        let step = step.unwrap_or(length);
        let mut axis = Group::new()
            .set("fill", palette::FAINT)
            .set("text-anchor", "middle");
        for tick in (0..=length / step).map(|number| number * step) {
            let x = self.x(self.from + tick);
            let grid = Line::new()
                .set("x1", x)
                .set("x2", x)
                .set("y1", EDGE)
                .set("y2", y)
                .set("stroke", palette::GRID);
            let text = Text::new(time(tick)).set("x", x).set("y", y + LINE);
            axis = axis.add(grid).add(text);
        }
        axis
    }

    /// Everything in it, row by row.
    fn words(&self) -> String {
        let since = |at: &Micros| time(at.saturating_sub(self.from));
        let rows = self.rows.iter().map(|row| {
            let bars = row.bars.iter().map(|(_, [begin, end], text)| {
                let words = format!("{text} from {} to {}", since(begin), since(end));
                (begin, words)
            });
            let marks = row.marks.iter();
            let marks = marks.map(|(_, at, text)| (at, format!("{text} at {}", since(at))));
            let mut said: Vec<_> = bars.chain(marks).collect();
            said.sort_by_key(|(at, _)| **at);
            let said: Vec<_> = said.into_iter().map(|(_, words)| words).collect();
            format!("{}: {}.", row.name, said.join("; "))
        });
        rows.collect::<Vec<_>>().join("\n")
    }
}

/// The distances that the ticks of an axis may have.
const STEPS: [Micros; 7] = [
    10_000, 50_000, 100_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
];

/// A time in seconds, or in milliseconds where it is less than one.
fn time(length: Micros) -> String {
    match length / 1_000 {
        millis if millis % 1_000 == 0 => format!("{} s", millis / 1_000),
        millis if millis < 1_000 => format!("{millis} ms"),
        millis => format!("{}.{:02} s", millis / 1_000, millis % 1_000 / 10),
    }
}
