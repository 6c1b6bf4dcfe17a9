//! NumPy's `.npy`, versions 1 to 3 (numpy/lib/format.py): a magic string, a Python dictionary that names element type,
//! order and shape, then the elements.
//!
//! Read: two-dimensional arrays in C order of little-endian f2, f4, f8, i1 to i8, u1 to u8. Fortran order and other
//! types are refused with what was found. Written: version 1, `<f4` or `<i4`.

use std::{
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::source::{Element, Header, PackedRows, ReadError, RowReader, open_file};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longest header text accepted; NumPy itself refuses more than 10,000 characters.
const MAX_HEADER: u64 = 1 << 16;

/// Opens a `.npy` file.
pub fn open(path: &Path) -> Result<Box<dyn RowReader>, ReadError> {
    let (file, length) = open_file(path)?;
    let read = |at: u64, out: &mut [u8], place: &str| {
        if length < at + out.len() as u64 {
            return Err(ReadError::truncated(path, place, at + out.len() as u64, length));
        }
        file.read_exact_at(out, at).map_err(|e| ReadError::io(path, format!("read the {place}"), e))
    };
    let mut start = [0; 8];
    read(0, &mut start, "magic string")?;
    if &start[..6] != MAGIC {
        return Err(ReadError::malformed(path, "magic string", "\\x93NUMPY", start[..6].escape_ascii().to_string()));
    }
    let (text_at, text_length) = match start[6] {
        1 => {
            let mut bytes = [0; 2];
            read(8, &mut bytes, "header length")?;
            (10, u64::from(u16::from_le_bytes(bytes)))
        }
        2 | 3 => {
            let mut bytes = [0; 4];
            read(8, &mut bytes, "header length")?;
            (12, u64::from(u32::from_le_bytes(bytes)))
        }
        other => return Err(ReadError::malformed(path, "format version", "1, 2 or 3", other.to_string())),
    };
    if text_length > MAX_HEADER {
        let expected = format!("at most {MAX_HEADER} bytes");
        return Err(ReadError::malformed(path, "header length", expected, text_length.to_string()));
    }
    let mut text = vec![0; text_length as usize];
    read(text_at, &mut text, "header")?;
    let header = parse(path, &String::from_utf8_lossy(&text))?;
    Ok(Box::new(PackedRows::new(header, file, text_at + text_length, length)?))
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (10, 4), }`.
fn parse(path: &Path, text: &str) -> Result<Header, ReadError> {
    let descr = value(text, "descr").map(|v| v.trim_matches(['\'', '"']).to_owned());
    let descr = descr.ok_or_else(|| malformed_header(path, "descr", text))?;
    let element = element(&descr).ok_or_else(|| {
        ReadError::malformed(path, "header field `descr`", "one of <f2 <f4 <f8 |u1 |i1 <u2 <i2 <u4 <i4 <u8 <i8", descr)
    })?;
    match value(text, "fortran_order") {
        Some("False") => {}
        Some("True") => {
            let hint = "C order (save numpy.ascontiguousarray(a))";
            return Err(ReadError::malformed(path, "header field `fortran_order`", hint, "Fortran order"));
        }
        _ => return Err(malformed_header(path, "fortran_order", text)),
    }
    let shape = value(text, "shape").ok_or_else(|| malformed_header(path, "shape", text))?;
    let dims: Option<Vec<u64>> = shape
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().ok())
        .collect();
    match dims.as_deref() {
        Some(&[rows, dim]) => Ok(Header { path: path.to_path_buf(), name: "array".into(), rows, dim, element }),
        _ => Err(ReadError::malformed(path, "header field `shape`", "two dimensions (n, d)", shape)),
    }
}

fn malformed_header(path: &Path, key: &str, text: &str) -> ReadError {
    let found: String = text.trim().chars().take(80).collect();
    ReadError::malformed(path, "header", format!("a dictionary with `{key}`"), format!("`{found}`"))
}

/// The text of a key's value: a tuple to its parenthesis, anything else to the next comma or brace.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = [format!("'{key}'"), format!("\"{key}\"")].iter().find_map(|k| Some(text.find(k.as_str())? + k.len()))?;
    let rest = text[at..].trim_start().strip_prefix(':')?.trim_start();
    let end = if rest.starts_with('(') { rest.find(')')? + 1 } else { rest.find([',', '}'])? };
    Some(rest[..end].trim())
}

fn element(descr: &str) -> Option<Element> {
    let (order, kind) = descr.split_at_checked(1)?;
    let element = match kind {
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        "u1" => Element::U8,
        "i1" => Element::I8,
        "u2" => Element::U16,
        "i2" => Element::I16,
        "u4" => Element::U32,
        "i4" => Element::I32,
        "u8" => Element::U64,
        "i8" => Element::I64,
        _ => return None,
    };
    (order == "<" || (element.size() == 1 && order == "|")).then_some(element)
}

/// Writes the header of an n x d array of `<f4` or `<i4` (panics on other types); the elements follow as they are.
pub fn write_header(out: &mut impl Write, rows: usize, dim: usize, element: Element) -> io::Result<()> {
    let descr = match element {
        Element::F32 => "<f4",
        Element::I32 => "<i4",
        other => panic!("npy files are written as f32 or i32, not {}", other.name()),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    // The elements start on a multiple of 64 bytes; the text ends in a line feed.
    let unpadded = 10 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&(text.len() as u16).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(version: u8, header: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<f32>, ReadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        std::fs::write(&path, bytes).unwrap();
        open(&path)?.read_all_f32()
    }

    fn refused(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn all_versions_and_types_are_read() {
        for (version, descr, body) in [
            (1, "<f4", 1f32.to_le_bytes().to_vec()),
            (2, "<f8", 1f64.to_le_bytes().to_vec()),
            (3, "<f2", half::f16::ONE.to_le_bytes().to_vec()),
            (1, "|u1", vec![1]),
            (1, "|i1", vec![1]),
            (1, "<u2", vec![1, 0]),
            (1, "<i2", vec![1, 0]),
            (1, "<u4", vec![1, 0, 0, 0]),
            (1, "<i4", vec![1, 0, 0, 0]),
            (1, "<u8", vec![1, 0, 0, 0, 0, 0, 0, 0]),
            (1, "<i8", vec![1, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1, 1), }}\n");
            assert_eq!(read(&npy(version, &header, &body)).unwrap(), [1.0], "{descr}");
        }
        let other_order = "{\"shape\": (1,1), \"fortran_order\": False, \"descr\": \"|u1\"}";
        assert_eq!(read(&npy(1, other_order, &[9])).unwrap(), [9.0]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        write_header(&mut bytes, 2, 2, Element::F32).unwrap();
        assert_eq!(bytes.len() % 64, 0);
        bytes.extend_from_slice(bytemuck::cast_slice(&[1f32, 2.0, 3.0, 4.0]));
        assert_eq!(read(&bytes).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    #[should_panic(expected = "written as f32 or i32, not f64")]
    fn only_two_types_are_written() {
        let _ = write_header(&mut Vec::new(), 1, 1, Element::F64);
    }

    #[test]
    fn fortran_order_is_refused_with_what_to_do() {
        let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }";
        let message = refused(&npy(1, header, &[0; 4]));
        assert!(
            message.contains("expected C order (save numpy.ascontiguousarray(a)), found Fortran order"),
            "{message}"
        );
    }

    #[test]
    fn headers_that_do_not_fit_are_refused() {
        let with = |descr: &str, shape: &str| {
            refused(&npy(1, &format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"), &[0; 8]))
        };
        assert!(with("'>f4'", "(1, 1)").contains("found >f4"));
        assert!(with("[('a', '<f4')]", "(1, 1)").contains("`descr`"));
        assert!(with("'<c8'", "(1, 1)").contains("found <c8"));
        assert!(with("''", "(1, 1)").contains("`descr`"));
        assert!(with("'<f4'", "(2,)").contains("expected two dimensions (n, d), found (2,)"));
        assert!(with("'<f4'", "(a, 2)").contains("two dimensions"));
        assert!(with("'<f4'", "(1, 0)").contains("1 to 1048576 columns"));
        assert!(with("'<f4'", "(9, 2)").contains("is truncated: expected"));
        assert!(refused(&npy(1, "{}", &[])).contains("a dictionary with `descr`, found `{}`"));
        assert!(refused(&npy(1, "{'descr': '<f4', }", &[])).contains("`fortran_order`"));
        assert!(refused(&npy(1, "{'descr': '<f4', 'fortran_order': False, }", &[])).contains("`shape`"));
    }

    #[test]
    fn a_foreign_or_short_file_is_refused() {
        assert!(refused(b"PK\x03\x04aaaa").contains("magic string: expected \\x93NUMPY, found PK\\x03\\x04aa"));
        assert!(refused(b"\x93NUM").contains("magic string is truncated: expected 8 bytes, found 4"));
        assert!(refused(&npy(9, "", &[])).contains("expected 1, 2 or 3, found 9"));
        assert!(refused(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f").contains("header length: expected at most 65536 bytes"));
        assert!(refused(b"\x93NUMPY\x01\x00\x10\x00{").contains("header is truncated: expected 26 bytes, found 11"));
    }
}
