//! A measure against recall or selectivity: Pareto lines, dominated points faded, bars from the smallest to the largest repeat.

use plotters::{
    prelude::DrawingBackend,
    style::{
        Color,
        text_anchor::{HPos, VPos},
    },
};

use super::{
    axis::Axis,
    style::{AXIS, Canvas, Drawn, GRID, INK, MUTED, color},
    text::Face,
};

/// Size in units; a PNG has twice as many pixels.
pub(super) const SIZE: (u32, u32) = (960, 600);

const TOP: f64 = 104.0;
const BOTTOM: f64 = 62.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 24.0;
const LEGEND_LINE: f64 = 25.0;

/// One plot.
#[derive(Debug, Clone)]
pub(super) struct Scatter {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) x_label: String,
    pub(super) x: Scale,
    pub(super) y_label: String,
    pub(super) y: Scale,
    pub(super) lines: Vec<Line>,
}

/// What an axis shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scale {
    /// Recall, by its distance to 1.
    Recall,
    /// Positive values, with how their ticks are written.
    Log(fn(f64) -> String),
}

impl Scale {
    fn axis(self, values: &[f64], gap: f64) -> Axis {
        match self {
            Self::Recall => Axis::recall(values, gap),
            Self::Log(label) => Axis::log(values, gap, label),
        }
    }
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    /// Which colour and marker.
    pub(super) style: usize,
    pub(super) dots: Vec<Dot>,
}

/// One point: where it stands along the plot, the measure's median, smallest and largest, and whether it is on its series' line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dot {
    pub(super) at: f64,
    pub(super) middle: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) front: bool,
}

/// Where the data go, in units.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Axis,
    y: Axis,
}

impl Frame {
    fn place(&self, at: f64, value: f64) -> (f64, f64) {
        (self.along(self.x.place(at)), self.up(self.y.place(value)))
    }

    fn along(&self, share: f64) -> f64 {
        self.left + (self.right - self.left) * share
    }

    fn up(&self, share: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * share
    }
}

impl Scatter {
    /// Draws the plot on a canvas of [`SIZE`].
    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Drawn<DB> {
        let (width, height) = (f64::from(SIZE.0), f64::from(SIZE.1));
        let legend = self.legend_width(canvas);
        let dots = || self.lines.iter().flat_map(|line| &line.dots);
        let places: Vec<f64> = dots().map(|dot| dot.at).collect();
        let values: Vec<f64> = dots().flat_map(|dot| [dot.low, dot.high]).collect();
        let right = width - RIGHT - legend;
        let frame = Frame {
            left: LEFT,
            right,
            top: TOP,
            bottom: height - BOTTOM,
            x: self.x.axis(&places, 48.0 / (right - LEFT)),
            y: self.y.axis(&values, 30.0 / (height - BOTTOM - TOP)),
        };
        self.words(canvas, &frame)?;
        grid(canvas, &frame)?;
        for line in &self.lines {
            line.draw(canvas, &frame)?;
        }
        self.legend(canvas, right + 22.0, legend)
    }

    fn words<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, frame: &Frame) -> Drawn<DB> {
        let full = f64::from(SIZE.0) - 40.0;
        let title = Face { bold: true, ..canvas.face(18.0, INK) };
        canvas.text(&canvas.fit(&self.title, &title, full), title, (20.0, 20.0))?;
        let small = canvas.face(12.5, MUTED);
        canvas.text(&canvas.fit(&self.subtitle, &small, full), small, (20.0, 45.0))?;
        canvas.text(&self.y_label, small, (20.0, TOP - 26.0))?;
        let middle = Face { across: HPos::Center, ..small };
        canvas.text(&self.x_label, middle, (f64::midpoint(frame.left, frame.right), frame.bottom + 36.0))
    }

    fn legend_width<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> f64 {
        if self.lines.len() < 2 {
            return 0.0;
        }
        let style = canvas.face(13.0, INK);
        let widest = self.lines.iter().map(|line| canvas.width(&line.name, &style)).fold(0.0, f64::max);
        widest.min(230.0) + 66.0
    }

    fn legend<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, left: f64, width: f64) -> Drawn<DB> {
        if width == 0.0 {
            return Ok(());
        }
        let room = ((f64::from(SIZE.1) - BOTTOM - TOP) / LEGEND_LINE) as usize;
        let shown = if self.lines.len() > room { room - 1 } else { self.lines.len() };
        let style = Face { along: VPos::Center, ..canvas.face(13.0, INK) };
        for (at, line) in self.lines.iter().take(shown).enumerate() {
            let y = TOP + 8.0 + at as f64 * LEGEND_LINE;
            canvas.line(&[(left, y), (left + 26.0, y)], color(line.style).to_rgba(), 2.0)?;
            canvas.marker(line.style, (left + 13.0, y), 5.0, color(line.style).to_rgba())?;
            canvas.text(&canvas.fit(&line.name, &style, width - 60.0), style, (left + 36.0, y))?;
        }
        let rest = self.lines.len() - shown;
        if rest > 0 {
            let y = TOP + 8.0 + shown as f64 * LEGEND_LINE;
            canvas.text(&format!("and {rest} more"), Face { color: MUTED, ..style }, (left + 36.0, y))?;
        }
        Ok(())
    }
}

fn grid<DB: DrawingBackend>(canvas: &Canvas<'_, DB>, frame: &Frame) -> Drawn<DB> {
    let below = Face { across: HPos::Center, ..canvas.face(12.0, MUTED) };
    for (share, label) in &frame.x.ticks {
        let x = frame.along(*share);
        canvas.line(&[(x, frame.top), (x, frame.bottom)], GRID.to_rgba(), 1.0)?;
        canvas.text(label, below, (x, frame.bottom + 11.0))?;
    }
    let beside = Face { across: HPos::Right, along: VPos::Center, ..canvas.face(12.0, MUTED) };
    for (share, label) in &frame.y.ticks {
        let y = frame.up(*share);
        canvas.line(&[(frame.left, y), (frame.right, y)], GRID.to_rgba(), 1.0)?;
        canvas.text(label, beside, (frame.left - 9.0, y))?;
    }
    let corner = (frame.left, frame.bottom);
    canvas.line(&[(frame.left, frame.top), corner, (frame.right, frame.bottom)], AXIS.to_rgba(), 1.0)
}

impl Line {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, frame: &Frame) -> Drawn<DB> {
        let solid = color(self.style).to_rgba();
        let faded = color(self.style).mix(0.28);
        let mut front: Vec<(f64, f64)> =
            self.dots.iter().filter(|dot| dot.front).map(|dot| frame.place(dot.at, dot.middle)).collect();
        front.sort_by(|a, b| a.0.total_cmp(&b.0));
        for dot in self.dots.iter().filter(|dot| !dot.front) {
            canvas.marker(self.style, frame.place(dot.at, dot.middle), 4.0, faded)?;
        }
        if front.len() > 1 {
            canvas.line(&front, solid, 2.0)?;
        }
        for dot in self.dots.iter().filter(|dot| dot.front) {
            let (x, y) = frame.place(dot.at, dot.middle);
            let (_, low) = frame.place(dot.at, dot.low);
            let (_, high) = frame.place(dot.at, dot.high);
            for end in [low, high] {
                // A bar that ends under its marker would only blur the marker's edge.
                if (end - y).abs() > 7.5 {
                    canvas.line(&[(x, y), (x, end)], solid, 1.5)?;
                    canvas.line(&[(x - 4.0, end), (x + 4.0, end)], solid, 1.5)?;
                }
            }
            canvas.marker(self.style, (x, y), 5.0, solid)?;
        }
        Ok(())
    }
}
