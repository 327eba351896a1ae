//! Lines over a logarithmic axis, as an SVG.

use std::error::Error;

use plotters::prelude::*;

/// Width and height, before a page scales it.
const SIZE: (u32, u32) = (960, 500);

/// The width of the legend beside the lines.
const LEGEND: u32 = 190;

const FONT: &str = "sans-serif";

/// A colour, and the corners of the mark at each point, in pixels. The colours are Okabe and Ito's, which colour-blind
/// readers can tell apart.
type Style = (RGBColor, &'static [(i32, i32)]);

const STYLES: [Style; 5] = [
    (
        RGBColor(0, 114, 178),
        &[(5, 0), (3, 5), (-3, 5), (-5, 0), (-3, -5), (3, -5)],
    ),
    (RGBColor(213, 94, 0), &[(0, -6), (6, 5), (-6, 5)]),
    (RGBColor(0, 158, 115), &[(-4, -4), (4, -4), (4, 4), (-4, 4)]),
    (RGBColor(204, 121, 167), &[(0, -6), (6, 0), (0, 6), (-6, 0)]),
    (RGBColor(86, 86, 86), &[(0, 6), (6, -5), (-6, -5)]),
];

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    /// The meaning of the axes, with units.
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// As many as there are styles, at most.
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot {
    /// All places on the first axis that have a value, in order.
    pub(crate) fn xs(&self) -> Vec<f64> {
        let mut xs: Vec<_> = self.points().map(|(x, _)| x).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        xs
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.lines
            .iter()
            .flat_map(|line| line.points.iter().copied())
    }

    /// The picture has a background of its own, so that it can be read on a dark page as well.
    pub(crate) fn to_svg(&self) -> Result<String, Box<dyn Error>> {
        let mut svg = String::new();
        self.draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())?;
        Ok(svg)
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        area.fill(&WHITE)?;
        let (left, right) = area.split_horizontally(SIZE.0 - LEGEND);
        self.draw_lines(&left)?;
        for ((line, style), place) in self.lines.iter().zip(STYLES).zip(1..) {
            let name = Text::new(line.name, (36, -8), (FONT, 19));
            let entry = EmptyElement::at((0, 50 + 30 * place)) + stroke(style) + name;
            right.draw(&(entry + Polygon::new(moved(style, 14), style.0)))?;
        }
        area.present()?;
        Ok(())
    }

    fn draw_lines(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let xs = self.xs();
        let (Some(first), Some(last)) = (xs.first(), xs.last()) else {
            return Err(format!("there is nothing to draw of \"{}\"", self.title).into());
        };
        // Room for the marks at both ends.
        let across = (first / 1.2)..(last * 1.2);
        let top = self.points().fold(0.0, |top: f64, (_, y)| top.max(y)) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, (FONT, 26))
            .margin(20)
            .x_label_area_size(60)
            .y_label_area_size(90)
            .build_cartesian_2d(across.log_scale().with_key_points(xs), 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 19))
            .axis_desc_style((FONT, 20))
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| thousands(*x))
            .y_label_formatter(&|y| thousands(*y))
            .draw()?;
        for (line, style) in self.lines.iter().zip(STYLES) {
            let points = line.points.iter().copied();
            chart.draw_series(LineSeries::new(points.clone(), style.0.stroke_width(2)))?;
            let mark = |at| EmptyElement::at(at) + Polygon::new(style.1, style.0);
            chart.draw_series(points.map(mark))?;
        }
        Ok(())
    }
}

/// A line's piece in the legend, and its mark there.
fn stroke((colour, _): Style) -> PathElement<(i32, i32)> {
    PathElement::new([(0, 0), (28, 0)], colour.stroke_width(2))
}

fn moved((_, corners): Style, by: i32) -> Vec<(i32, i32)> {
    corners.iter().map(|(x, y)| (x + by, *y)).collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Without a fraction, and with commas between thousands.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_says_what_its_axes_and_lines_are() {
        let line = |name, points: &[(f64, f64)]| Line {
            name,
            points: points.to_vec(),
        };
        let plot = Plot {
            title: "Speed",
            x: "tasks",
            y: "cycles a second",
            lines: vec![
                line("ours", &[(1.0, 1000.0), (8.0, 7000.0)]),
                line("a peer", &[(8.0, 5000.0)]),
            ],
        };
        let svg = plot.to_svg().unwrap();
        for text in [
            "Speed",
            "tasks",
            "cycles a second",
            "ours",
            "a peer",
            "2,000",
        ] {
            assert!(svg.contains(&format!("\n{text}\n")), "{text}: {svg}");
        }
        assert_eq!(plot.xs(), [1.0, 8.0]);
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let plot = Plot {
            title: "Speed",
            x: "",
            y: "",
            lines: vec![],
        };
        assert!(plot.to_svg().unwrap_err().to_string().contains("Speed"));
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(
            [1.0, 999.6, 21_663.7].map(thousands),
            ["1", "1,000", "21,664"]
        );
    }
}
