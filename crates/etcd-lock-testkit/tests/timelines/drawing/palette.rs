//! How bars and marks look. The colours are Okabe and Ito's, which colour-blind readers can tell apart, on a sheet of their
//! own, so that they look the same on light and dark pages. The name of a bar is also written in it, if there is room.

use svg::node::element::{Definitions, Line, Marker, Path, Pattern, Rectangle};

pub(super) const SHEET: &str = "#ffffff";
pub(super) const INK: &str = "#1f1f1f";
pub(super) const FAINT: &str = "#5c5c5c";
pub(super) const GRID: &str = "#ececec";
pub(super) const RAIL: &str = "#c4c4c4";
const BLUE: &str = "#0072b2";
const ORANGE: &str = "#e69f00";
const GREEN: &str = "#009e73";
const RED: &str = "#d55e00";
const PALE_ORANGE: &str = "#fdf1d6";
const PALE_GREEN: &str = "#dcf3ec";

/// Something that lasts.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// A caller waits for the lock.
    Waiting,
    /// A caller holds it.
    Holding,
    /// Something exists, or counts, until the end of the bar.
    Lasting,
    /// Nothing happens.
    Stopped,
}

impl Bar {
    pub(super) const fn fill(self) -> &'static str {
        match self {
            Self::Waiting => PALE_ORANGE,
            Self::Holding => BLUE,
            Self::Lasting => PALE_GREEN,
            Self::Stopped => "url(#hatched)",
        }
    }

    pub(super) const fn edge(self) -> &'static str {
        match self {
            Self::Waiting => ORANGE,
            Self::Holding => BLUE,
            Self::Lasting => GREEN,
            Self::Stopped => FAINT,
        }
    }

    pub(super) const fn ink(self) -> &'static str {
        match self {
            Self::Holding => SHEET,
            _ => INK,
        }
    }
}

/// Something that happens.
#[derive(Clone, Copy)]
pub(crate) enum Mark {
    /// A request is executed.
    Done,
    /// A request gets no answer.
    Unanswered,
    /// A request is refused, or a hold is lost.
    Refused,
    /// A moment that only its label names.
    Moment,
}

impl Mark {
    pub(super) const fn colour(self) -> &'static str {
        match self {
            Self::Refused => RED,
            _ => INK,
        }
    }

    pub(super) const fn fill(self) -> &'static str {
        match self {
            Self::Unanswered => SHEET,
            _ => INK,
        }
    }
}

/// The sheet that all is drawn on.
pub(super) fn sheet(width: i64, height: i64) -> Rectangle {
    Rectangle::new()
        .set("width", width)
        .set("height", height)
        .set("rx", 6)
        .set("fill", SHEET)
}

/// What bars and arrows refer to.
pub(super) fn definitions() -> Definitions {
    let line = Line::new()
        .set("y2", 8)
        .set("stroke", RAIL)
        .set("stroke-width", 5);
    let hatched = Pattern::new()
        .set("id", "hatched")
        .set("width", 9)
        .set("height", 8)
        .set("patternUnits", "userSpaceOnUse")
        .set("patternTransform", "rotate(45)")
        .add(
            Rectangle::new()
                .set("width", 9)
                .set("height", 8)
                .set("fill", SHEET),
        )
        .add(line);
    let head = Marker::new()
        .set("id", "head")
        .set("viewBox", (0, 0, 8, 8))
        .set("refX", 8)
        .set("refY", 4)
        .set("markerWidth", 7)
        .set("markerHeight", 7)
        .set("orient", "auto")
        .add(Path::new().set("d", "M0 0L8 4L0 8z").set("fill", INK));
    Definitions::new().add(hatched).add(head)
}
