//! Element types that files hold, and their conversion to what nearlab works on: `f32` coordinates and `i64` ids.
//!
//! All inputs are little-endian; readers of other byte orders swap before they hand bytes on.

use half::f16;

/// Type of one stored element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum Element {
    F16,
    F32,
    F64,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
}

impl Element {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 | Self::U16 | Self::I16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F64 | Self::U64 | Self::I64 => 8,
        }
    }

    /// `f32`, `u8`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
        }
    }

    /// Whether the type can hold ids.
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// Converts stored elements to `f32`, rounding what does not fit (`f64`, wide integers).
    ///
    /// Panics unless `bytes` holds exactly `out.len()` elements.
    pub fn to_f32(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F16 => fill(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            Self::F32 => fill(bytes, out, f32::from_le_bytes),
            Self::F64 => fill(bytes, out, |b| f64::from_le_bytes(b) as f32),
            Self::U8 => fill(bytes, out, |b: [u8; 1]| f32::from(b[0])),
            Self::I8 => fill(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
            Self::U16 => fill(bytes, out, |b| f32::from(u16::from_le_bytes(b))),
            Self::I16 => fill(bytes, out, |b| f32::from(i16::from_le_bytes(b))),
            Self::U32 => fill(bytes, out, |b| u32::from_le_bytes(b) as f32),
            Self::I32 => fill(bytes, out, |b| i32::from_le_bytes(b) as f32),
            Self::U64 => fill(bytes, out, |b| u64::from_le_bytes(b) as f32),
            Self::I64 => fill(bytes, out, |b| i64::from_le_bytes(b) as f32),
        }
    }

    /// Converts stored integers to `i64`; a `u64` beyond `i64::MAX` becomes `i64::MAX`, which no data set has as an id.
    ///
    /// Panics on a float type (callers ask [`Element::is_integer`]) and unless `bytes` holds `out.len()` elements.
    pub fn to_i64(self, bytes: &[u8], out: &mut [i64]) {
        match self {
            Self::F16 | Self::F32 | Self::F64 => panic!("ids are read from integers, not from {}", self.name()),
            Self::U8 => fill(bytes, out, |b: [u8; 1]| i64::from(b[0])),
            Self::I8 => fill(bytes, out, |b| i64::from(i8::from_le_bytes(b))),
            Self::U16 => fill(bytes, out, |b| i64::from(u16::from_le_bytes(b))),
            Self::I16 => fill(bytes, out, |b| i64::from(i16::from_le_bytes(b))),
            Self::U32 => fill(bytes, out, |b| i64::from(u32::from_le_bytes(b))),
            Self::I32 => fill(bytes, out, |b| i64::from(i32::from_le_bytes(b))),
            Self::U64 => fill(bytes, out, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)),
            Self::I64 => fill(bytes, out, i64::from_le_bytes),
        }
    }
}

fn fill<const N: usize, T>(bytes: &[u8], out: &mut [T], convert: impl Fn([u8; N]) -> T) {
    let (elements, rest) = bytes.as_chunks::<N>();
    assert!(
        rest.is_empty() && elements.len() == out.len(),
        "{} bytes are not {} elements of {N} bytes",
        bytes.len(),
        out.len()
    );
    for (o, &b) in out.iter_mut().zip(elements) {
        *o = convert(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Element; 11] = [
        Element::F16,
        Element::F32,
        Element::F64,
        Element::U8,
        Element::I8,
        Element::U16,
        Element::I16,
        Element::U32,
        Element::I32,
        Element::U64,
        Element::I64,
    ];

    fn one(element: Element) -> Vec<u8> {
        match element {
            Element::F16 => f16::from_f32(1.0).to_le_bytes().to_vec(),
            Element::F32 => 1f32.to_le_bytes().to_vec(),
            Element::F64 => 1f64.to_le_bytes().to_vec(),
            _ => {
                let mut bytes = vec![0; element.size()];
                bytes[0] = 1;
                bytes
            }
        }
    }

    #[test]
    fn one_is_one_in_every_type() {
        for element in ALL {
            let bytes = one(element);
            assert_eq!(bytes.len(), element.size(), "{}", element.name());
            let mut float = [0.0];
            element.to_f32(&bytes, &mut float);
            assert_eq!(float, [1.0], "{}", element.name());
            if element.is_integer() {
                let mut id = [0];
                element.to_i64(&bytes, &mut id);
                assert_eq!(id, [1], "{}", element.name());
            }
        }
    }

    #[test]
    fn signs_and_extremes_survive() {
        let mut id = [0];
        Element::I8.to_i64(&[0xff], &mut id);
        assert_eq!(id, [-1]);
        Element::U64.to_i64(&[0xff; 8], &mut id);
        assert_eq!(id, [i64::MAX]);
        let mut float = [0.0];
        Element::I16.to_f32(&(-300i16).to_le_bytes(), &mut float);
        assert_eq!(float, [-300.0]);
    }

    #[test]
    #[should_panic(expected = "ids are read from integers, not from f32")]
    fn ids_are_never_read_from_floats() {
        Element::F32.to_i64(&[0; 4], &mut [0]);
    }

    #[test]
    #[should_panic(expected = "3 bytes are not 1 elements of 4 bytes")]
    fn a_length_mismatch_is_a_programmers_mistake() {
        Element::F32.to_f32(&[0; 3], &mut [0.0]);
    }
}
