//! Colours, lines and markers of every static plot.
//!
//! The palette is Okabe and Ito's (2008), told apart with any common colour vision; each series also has a marker of its
//! own, so a plot survives a grey printer. The interactive plots use the same order (`templates/report.css`).

use plotters::{
    coord::Shift,
    prelude::{Circle, DrawingArea, DrawingBackend, PathElement, Polygon, RGBAColor, RGBColor},
    style::{
        Color, ShapeStyle,
        text_anchor::{HPos, VPos},
    },
};

use super::text::{Face, Label};

/// Result of drawing on the backend `DB`.
pub(super) type Drawn<DB> = Result<(), plotters::drawing::DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Series colours, in order of use.
pub(super) const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 98, 106),
];

pub(super) const INK: RGBColor = RGBColor(26, 30, 36);
pub(super) const MUTED: RGBColor = RGBColor(92, 102, 112);
pub(super) const GRID: RGBColor = RGBColor(226, 230, 235);
pub(super) const AXIS: RGBColor = RGBColor(150, 160, 170);

/// A canvas and the pixels per unit on it: 1 in an SVG, 2 in a PNG for dense screens.
pub(super) struct Canvas<'a, DB: DrawingBackend> {
    pub(super) area: &'a DrawingArea<DB, Shift>,
    pub(super) scale: f64,
}

impl<DB: DrawingBackend> Canvas<'_, DB> {
    /// Units to pixels.
    pub(super) fn at(&self, x: f64, y: f64) -> (i32, i32) {
        ((x * self.scale).round() as i32, (y * self.scale).round() as i32)
    }

    fn stroke(&self, color: RGBAColor, width: f64) -> ShapeStyle {
        color.stroke_width((width * self.scale).round().max(1.0) as u32)
    }

    /// A line through `points`.
    pub(super) fn line(&self, points: &[(f64, f64)], color: RGBAColor, width: f64) -> Drawn<DB> {
        let points: Vec<(i32, i32)> = points.iter().map(|point| self.at(point.0, point.1)).collect();
        self.area.draw(&PathElement::new(points, self.stroke(color, width)))
    }

    /// A filled rectangle.
    pub(super) fn fill(&self, from: (f64, f64), to: (f64, f64), color: RGBAColor) -> Drawn<DB> {
        let (left, top) = self.at(from.0, from.1);
        let (right, bottom) = self.at(to.0, to.1);
        // A polygon, not a rectangle: neighbouring bars then share their edge without a seam.
        self.area.draw(&Polygon::new([(left, top), (right, top), (right, bottom), (left, bottom)], color))
    }

    /// Text of `em` units per em that begins at its place and hangs from it.
    pub(super) fn face(&self, em: f64, color: RGBColor) -> Face {
        Face { em: em * self.scale, bold: false, color, across: HPos::Left, along: VPos::Top }
    }

    /// Width of `text` in units.
    pub(super) fn width(&self, text: &str, face: &Face) -> f64 {
        face.width(text) / self.scale
    }

    /// `text`, cut with an ellipsis where it is wider than `width` units.
    pub(super) fn fit(&self, text: &str, face: &Face, width: f64) -> String {
        if self.width(text, face) <= width {
            return text.to_owned();
        }
        let mut kept: Vec<char> = text.chars().collect();
        while !kept.is_empty() {
            kept.pop();
            let candidate = kept.iter().collect::<String>().trim_end().to_owned() + "…";
            if self.width(&candidate, face) <= width {
                return candidate;
            }
        }
        String::new()
    }

    /// `text` with its anchor at a place.
    pub(super) fn text(&self, text: &str, face: Face, place: (f64, f64)) -> Drawn<DB> {
        self.area.draw(&Label { text, face, place: self.at(place.0, place.1) })
    }

    /// The marker of series number `series`, with a white rim that keeps neighbours apart.
    pub(super) fn marker(&self, series: usize, center: (f64, f64), radius: f64, color: RGBAColor) -> Drawn<DB> {
        let rim = RGBAColor(255, 255, 255, color.alpha());
        self.shape(series, center, radius + 1.2, rim)?;
        self.shape(series, center, radius, color)
    }

    fn shape(&self, series: usize, center: (f64, f64), radius: f64, color: RGBAColor) -> Drawn<DB> {
        // Corners as (x, y) in radii; areas are roughly equal.
        let corners: &[(f64, f64)] = match marker_of(series) {
            1 => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            2 => &[(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)],
            3 => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
            4 => &[(0.0, 1.25), (1.15, -0.85), (-1.15, -0.85)],
            5 => &[
                (-0.4, -1.2),
                (0.4, -1.2),
                (0.4, -0.4),
                (1.2, -0.4),
                (1.2, 0.4),
                (0.4, 0.4),
                (0.4, 1.2),
                (-0.4, 1.2),
                (-0.4, 0.4),
                (-1.2, 0.4),
                (-1.2, -0.4),
                (-0.4, -0.4),
            ],
            6 => &[(-1.15, 0.0), (-0.58, -1.0), (0.58, -1.0), (1.15, 0.0), (0.58, 1.0), (-0.58, 1.0)],
            _ => {
                let radius = (radius * self.scale).round() as i32;
                return self.area.draw(&Circle::new(self.at(center.0, center.1), radius, color.filled()));
            }
        };
        let corners: Vec<(i32, i32)> =
            corners.iter().map(|(x, y)| self.at(center.0 + x * radius, center.1 + y * radius)).collect();
        self.area.draw(&Polygon::new(corners, color))
    }
}

/// Marker of series number `series`: with every round through the colours they move on by one, so that no two of the first 49
/// series have both in common.
fn marker_of(series: usize) -> usize {
    (series + series / PALETTE.len()) % PALETTE.len()
}

/// Colour of series number `series`.
pub(super) fn color(series: usize) -> RGBColor {
    PALETTE[series % PALETTE.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_of_many_series_look_alike() {
        let looks: BTreeSet<_> = (0..49).map(|series| (series % PALETTE.len(), marker_of(series))).collect();
        assert_eq!(looks.len(), 49);
        assert_eq!((0..7).map(marker_of).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    }
}
