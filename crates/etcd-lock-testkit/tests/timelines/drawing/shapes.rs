//! The parts that a picture is made of. `top` is the upper edge of a row's bars.

use svg::node::element::{Circle, Group, Line, Path, Rectangle, Text};

use super::labels::Label;
use super::palette::{Bar, INK, Mark, SHEET};
use super::{BAR, LINE};

/// A bar, without its text.
pub(super) fn bar(kind: Bar, [begin, end]: [i64; 2], top: i64) -> Rectangle {
    Rectangle::new()
        .set("x", begin)
        .set("y", top)
        .set("width", (end - begin).max(2))
        .set("height", BAR)
        .set("rx", 2)
        .set("fill", kind.fill())
        .set("stroke", kind.edge())
}

/// The line from a label to its mark.
pub(super) fn stem(label: &Label, top: i64) -> Line {
    Line::new()
        .set("x1", label.at)
        .set("x2", label.at)
        .set("y1", top - (label.line + 1) * LINE)
        .set("y2", top + BAR / 2)
        .set("stroke", INK)
}

/// The text of a label. Its edge is drawn in the colour of the sheet, so that lines below it don't disturb.
pub(super) fn text(label: &Label, top: i64) -> Text {
    Text::new(&label.text)
        .set("x", label.begin())
        .set("y", top - label.line * LINE - 6)
        .set("fill", INK)
        .set("stroke", SHEET)
        .set("stroke-width", 4)
        .set("paint-order", "stroke")
}

/// A mark in the middle of a row's height.
pub(super) fn mark(kind: Mark, x: i64, top: i64) -> Group {
    let y = top + BAR / 2;
    let group = Group::new()
        .set("stroke", kind.colour())
        .set("stroke-width", 2);
    match kind {
        Mark::Done | Mark::Unanswered => group.add(
            Circle::new()
                .set("cx", x)
                .set("cy", y)
                .set("r", 5)
                .set("fill", kind.fill()),
        ),
        Mark::Refused => group.add(
            Path::new()
                .set("d", format!("M{} {}l12 12m0 -12l-12 12", x - 6, y - 6))
                .set("stroke-width", 3),
        ),
        Mark::Moment => group.add(
            Line::new()
                .set("x1", x)
                .set("x2", x)
                .set("y1", top)
                .set("y2", top + BAR),
        ),
    }
}

/// An arrow from one point to another.
pub(super) fn arrow((x1, y1): (i64, i64), (x2, y2): (i64, i64)) -> Path {
    Path::new()
        .set("d", format!("M{x1} {y1}L{x2} {y2}"))
        .set("stroke", INK)
        .set("stroke-width", 1.5)
        .set("marker-end", "url(#head)")
}
