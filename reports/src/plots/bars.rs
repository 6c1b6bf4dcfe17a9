//! Stacked horizontal bars: seconds or bytes of each build, by stage or component.

use plotters::{
    prelude::{DrawingBackend, RGBColor, WHITE},
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

const WIDTH: f64 = 960.0;
const ROW: f64 = 40.0;
const LABELS: f64 = 270.0;
const VALUES: f64 = 100.0;
const BOTTOM: f64 = 52.0;
/// Builds shown; a sweep of hundreds belongs in the table.
pub(super) const MOST_ROWS: usize = 24;

/// One plot.
#[derive(Debug, Clone)]
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) subtitle: String,
    /// Names of the parts, in the order of colours.
    pub(super) parts: Vec<String>,
    pub(super) rows: Vec<Row>,
    pub(super) format: fn(f64) -> String,
    /// Ticks are round multiples of this.
    pub(super) unit: f64,
    /// What the thin black mark stands for, when rows have one.
    pub(super) mark: Option<&'static str>,
}

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) params: String,
    /// One value per part.
    pub(super) values: Vec<f64>,
    pub(super) mark: Option<f64>,
}

impl Row {
    fn total(&self) -> f64 {
        self.values.iter().sum()
    }
}

impl Bars {
    fn top(&self) -> f64 {
        if self.keys() > 1 { 116.0 } else { 84.0 }
    }

    fn keys(&self) -> usize {
        self.parts.len() + usize::from(self.mark.is_some())
    }

    /// Width and height in units.
    pub(super) fn size(&self) -> (u32, u32) {
        (WIDTH as u32, (self.top() + self.rows.len() as f64 * ROW + BOTTOM) as u32)
    }

    /// Draws the plot on a canvas of [`Bars::size`].
    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Drawn<DB> {
        let longest = self.rows.iter().map(|row| row.total().max(row.mark.unwrap_or(0.0))).fold(0.0, f64::max);
        let axis = Axis::linear(longest, 5.0, self.unit, self.format);
        let (left, right) = (LABELS, WIDTH - VALUES);
        let along = |value: f64| left + (right - left) * axis.place(value);
        let title = Face { bold: true, ..canvas.face(18.0, INK) };
        canvas.text(&canvas.fit(&self.title, &title, WIDTH - 40.0), title, (20.0, 20.0))?;
        let small = canvas.face(12.5, MUTED);
        canvas.text(&canvas.fit(&self.subtitle, &small, WIDTH - 40.0), small, (20.0, 45.0))?;
        self.legend(canvas)?;
        let bottom = self.top() + self.rows.len() as f64 * ROW;
        let below = Face { across: HPos::Center, ..small };
        for (share, label) in &axis.ticks {
            let x = left + (right - left) * share;
            canvas.line(&[(x, self.top() - 4.0), (x, bottom)], GRID.to_rgba(), 1.0)?;
            canvas.text(label, below, (x, bottom + 11.0))?;
        }
        canvas.line(&[(left, self.top() - 4.0), (left, bottom)], AXIS.to_rgba(), 1.0)?;
        for (at, row) in self.rows.iter().enumerate() {
            self.row(canvas, row, self.top() + at as f64 * ROW, &along)?;
        }
        Ok(())
    }

    fn row<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        row: &Row,
        top: f64,
        along: &impl Fn(f64) -> f64,
    ) -> Drawn<DB> {
        let params = Face { across: HPos::Right, along: VPos::Center, ..canvas.face(11.0, MUTED) };
        let name = Face { em: params.em * 1.15, bold: true, color: INK, ..params };
        let middle = top + ROW / 2.0;
        let room = LABELS - 30.0;
        if row.params == "–" {
            canvas.text(&canvas.fit(&row.name, &name, room), name, (LABELS - 10.0, middle))?;
        } else {
            canvas.text(&canvas.fit(&row.name, &name, room), name, (LABELS - 10.0, middle - 8.0))?;
            canvas.text(&canvas.fit(&row.params, &params, room), params, (LABELS - 10.0, middle + 10.0))?;
        }
        let mut from = 0.0;
        for (part, value) in row.values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            canvas.fill((along(from), top + 8.0), (along(from + value), top + ROW - 8.0), color(part).to_rgba())?;
            from += value;
        }
        let end = along(row.total());
        let mark = row.mark.map(along);
        if let Some(x) = mark {
            canvas.line(&[(x, top + 4.0), (x, top + ROW - 4.0)], INK.to_rgba(), 2.0)?;
        }
        let words = (self.format)(row.total());
        let value = Face { along: VPos::Center, ..canvas.face(12.0, INK) };
        let width = canvas.width(&words, &value);
        if end - along(0.0) > width + 24.0 {
            // In the bar, where no mark can stand in its way.
            let last = row.values.iter().rposition(|value| *value > 0.0).unwrap_or(0);
            let inside = Face { across: HPos::Right, bold: true, color: readable_on(last), ..value };
            return canvas.text(&words, inside, (end - 8.0, middle));
        }
        let crossed = mark.is_some_and(|x| x > end - 2.0 && x < end + width + 14.0);
        let from = if crossed { mark.unwrap_or(end) } else { end };
        canvas.text(&words, value, (from + 8.0, middle))
    }

    fn legend<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Drawn<DB> {
        if self.keys() < 2 {
            return Ok(());
        }
        let style = Face { along: VPos::Center, ..canvas.face(12.0, INK) };
        let (mut x, y) = (20.0, 84.0);
        for (part, name) in self.parts.iter().enumerate() {
            let next = x + 18.0 + canvas.width(name, &style) + 22.0;
            if next > WIDTH - 20.0 {
                break;
            }
            canvas.fill((x, y - 6.0), (x + 12.0, y + 6.0), color(part).to_rgba())?;
            canvas.text(name, style, (x + 18.0, y))?;
            x = next;
        }
        if let Some(mark) = self.mark.filter(|mark| x + 24.0 + canvas.width(mark, &style) < WIDTH) {
            canvas.line(&[(x + 6.0, y - 8.0), (x + 6.0, y + 8.0)], INK.to_rgba(), 2.0)?;
            canvas.text(mark, style, (x + 18.0, y))?;
        }
        Ok(())
    }
}

/// White on the dark colours of the palette, ink on the light ones.
fn readable_on(part: usize) -> RGBColor {
    let RGBColor(red, green, blue) = color(part);
    let light = 0.3 * f64::from(red) + 0.59 * f64::from(green) + 0.11 * f64::from(blue);
    if light > 150.0 { INK } else { WHITE }
}
