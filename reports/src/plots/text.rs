//! Text in static plots.
//!
//! Measured, and in a PNG also drawn, with the embedded font, so that a plot looks the same on every machine. plotters'
//! own drawing with `ab_glyph` leaves out side bearings and sets text above its place; this one does neither. An SVG
//! names a generic family and shows the reader's own sans-serif, in the same size and place.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use plotters::{
    element::{Drawable, PointCollection},
    prelude::RGBColor,
    style::{
        Color,
        text_anchor::{HPos, Pos, VPos},
    },
};
use plotters_backend::{
    BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontFamily, FontStyle,
    FontTransform,
};

const REGULAR: &[u8] = include_bytes!("../../fonts/DejaVuSans-subset.ttf");
const BOLD: &[u8] = include_bytes!("../../fonts/DejaVuSans-Bold-subset.ttf");
/// plotters divides by this where it writes an SVG's font size.
const SVG_FACTOR: f64 = 1.24;
/// Height of a capital letter in the embedded font, in em.
const CAPITAL: f64 = 0.729;

/// Size, weight, colour and anchor of a piece of text; vertically it hangs from or stands around its capitals.
#[derive(Clone, Copy)]
pub(super) struct Face {
    /// Pixels per em.
    pub(super) em: f64,
    pub(super) bold: bool,
    pub(super) color: RGBColor,
    pub(super) across: HPos,
    pub(super) along: VPos,
}

/// The embedded font is unusable: a mistake in nearlab.
#[derive(Debug, thiserror::Error)]
#[error("the embedded font cannot be read")]
pub(super) struct NoFont;

impl Face {
    fn font(&self) -> Result<&'static FontRef<'static>, NoFont> {
        static FONTS: OnceLock<Option<[FontRef<'static>; 2]>> = OnceLock::new();
        let read = || Some([FontRef::try_from_slice(REGULAR).ok()?, FontRef::try_from_slice(BOLD).ok()?]);
        FONTS.get_or_init(read).as_ref().map(|fonts| &fonts[usize::from(self.bold)]).ok_or(NoFont)
    }

    fn scale(&self, font: &FontRef<'_>) -> PxScale {
        let per_em = font.height_unscaled() / font.units_per_em().unwrap_or(2048.0);
        PxScale::from(self.em as f32 * per_em)
    }

    /// Each glyph with its place on the baseline, and the width of them all.
    fn set(&self, text: &str) -> Result<(Vec<ab_glyph::Glyph>, f32), NoFont> {
        let font = self.font()?;
        let scale = self.scale(font);
        let scaled = font.as_scaled(scale);
        let mut x = 0.0;
        let mut before = None;
        let mut glyphs = Vec::new();
        for character in text.chars() {
            let id = scaled.glyph_id(character);
            x += before.map_or(0.0, |before| scaled.kern(before, id));
            glyphs.push(id.with_scale_and_position(scale, point(x, 0.0)));
            x += scaled.h_advance(id);
            before = Some(id);
        }
        Ok((glyphs, x))
    }

    /// Width in pixels; 0 when the font is unusable, which drawing will report.
    pub(super) fn width(&self, text: &str) -> f64 {
        self.set(text).map_or(0.0, |(_, width)| f64::from(width))
    }
}

impl BackendTextStyle for Face {
    type FontError = NoFont;

    fn color(&self) -> BackendColor {
        self.color.to_rgba().to_backend_color()
    }

    fn size(&self) -> f64 {
        self.em * SVG_FACTOR
    }

    fn anchor(&self) -> Pos {
        Pos::new(self.across, self.along)
    }

    fn style(&self) -> FontStyle {
        if self.bold { FontStyle::Bold } else { FontStyle::Normal }
    }

    fn transform(&self) -> FontTransform {
        FontTransform::None
    }

    fn family(&self) -> FontFamily<'_> {
        FontFamily::SansSerif
    }

    fn layout_box(&self, text: &str) -> Result<((i32, i32), (i32, i32)), NoFont> {
        let (_, width) = self.set(text)?;
        Ok(((0, 0), (width.round() as i32, (self.em * CAPITAL).round() as i32)))
    }

    fn draw<E, DrawFunc: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        text: &str,
        place: BackendCoord,
        mut draw: DrawFunc,
    ) -> Result<Result<(), E>, NoFont> {
        let font = self.font()?;
        let baseline = place.1 + (self.em * CAPITAL).round() as i32;
        let color = self.color.to_rgba().to_backend_color();
        for outline in self.set(text)?.0.into_iter().filter_map(|glyph| font.outline_glyph(glyph)) {
            let bounds = outline.px_bounds();
            let (left, top) = (place.0 + bounds.min.x as i32, baseline + bounds.min.y as i32);
            let mut result = Ok(());
            outline.draw(|x, y, coverage| {
                if result.is_ok() && coverage > 0.0 {
                    let color = BackendColor { alpha: f64::from(coverage.min(1.0)), ..color };
                    result = draw(left + x as i32, top + y as i32, color);
                }
            });
            if result.is_err() {
                return Ok(result);
            }
        }
        Ok(Ok(()))
    }
}

/// A piece of text at a place in pixels.
pub(super) struct Label<'a> {
    pub(super) text: &'a str,
    pub(super) face: Face,
    pub(super) place: BackendCoord,
}

impl<'b> PointCollection<'b, BackendCoord> for &'b Label<'_> {
    type Point = &'b BackendCoord;
    type IntoIter = std::iter::Once<&'b BackendCoord>;

    fn point_iter(self) -> Self::IntoIter {
        std::iter::once(&self.place)
    }
}

impl<DB: DrawingBackend> Drawable<DB> for Label<'_> {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        mut places: I,
        backend: &mut DB,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<DB::ErrorType>> {
        places.next().map_or(Ok(()), |place| backend.draw_text(self.text, &self.face, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bold_is_wider_and_twice_the_size_is_twice_as_wide() {
        let face = Face { em: 20.0, bold: false, color: RGBColor(0, 0, 0), across: HPos::Left, along: VPos::Top };
        let width = face.width("recall@10 – µs ×");
        assert!(Face { bold: true, ..face }.width("recall@10 – µs ×") > width);
        assert!((Face { em: 40.0, ..face }.width("recall@10 – µs ×") / width - 2.0).abs() < 1e-3);
    }

    #[test]
    fn every_character_of_the_reports_own_words_is_in_the_font() {
        let face = Face { em: 20.0, bold: false, color: RGBColor(0, 0, 0), across: HPos::Left, along: VPos::Top };
        let font = face.font().unwrap();
        assert!("…–×µ≥→é abc".chars().all(|character| font.glyph_id(character).0 != 0));
    }
}
