//! The text of one tensor's data to its raw bytes: little-endian, row-major, as the workers take them.
//!
//! Data may be flat or nested as the shape is. Reading stops at the first element too many, so the shape bounds the work
//! and the memory, and nesting is a counter, so depth cannot reach the stack. Numbers are rounded once and correctly to the type that is
//! wanted.

use super::{
    floats::{Float, is_of_number},
    half,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use slipway_kernel::Refusal;
use slipway_proto::oip::DataType;
use std::borrow::Cow;

/// How the elements of a BYTES tensor stand in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BytesAs {
    /// As text.
    Text,
    /// In base64, because JSON has no bytes. The tensor's parameter `content_type` says `base64`.
    Base64,
}

/// Reads `text`, which must be well-formed JSON, as `count` elements of `data_type`; `path` is where it stands in the document.
///
/// # Errors
/// The first element, length or nesting that does not fit.
pub fn read(
    path: &str,
    text: &str,
    data_type: DataType,
    shape: &[usize],
    count: usize,
    bytes_as: BytesAs,
) -> Result<Vec<u8>, Refusal> {
    // An element takes at least one character, so no shape makes this larger than the body allows.
    let mut raw = Vec::with_capacity(count.min(text.len()).saturating_mul(data_type.element_size().unwrap_or(4)));
    let mut nesting = Nesting { path, shape, count, levels: Vec::with_capacity(shape.len()), leaves_at: None };
    let mut tokens = Tokens { text, at: 0 };
    let mut elements = 0;
    while let Some(token) = tokens.next() {
        match token {
            Token::Open => nesting.open(&tokens)?,
            Token::Close => nesting.close()?,
            Token::Scalar(scalar) => {
                nesting.leaf()?;
                if elements == count {
                    return Err(nesting.wrong_count(format!("more than {count} elements")));
                }
                write(&mut raw, scalar, data_type, bytes_as)
                    .map_err(|allowed| Refusal::new(format!("{path}[{elements}]"), scalar, allowed))?;
                elements += 1;
                let most = count - elements;
                let run = match data_type {
                    DataType::Fp32 => tokens.floats::<f32>(&mut raw, most),
                    DataType::Fp64 => tokens.floats::<f64>(&mut raw, most),
                    _ => 0,
                };
                elements += run;
                nesting.entries(run);
            }
            Token::Object => {
                return Err(Refusal::new(format!("{path}[{elements}]"), "an object", wanted(data_type)));
            }
        }
    }
    if elements == count { Ok(raw) } else { Err(nesting.wrong_count(format!("{elements} elements"))) }
}

/// How the brackets stand against the shape.
struct Nesting<'a> {
    path: &'a str,
    shape: &'a [usize],
    count: usize,
    /// How many entries the open lists have, outermost first.
    levels: Vec<usize>,
    /// How many lists are open around an element: 1 (flat) or as many as the shape has dimensions.
    leaves_at: Option<usize>,
}

impl Nesting<'_> {
    fn entries(&mut self, more: usize) {
        if let Some(entries) = self.levels.last_mut() {
            *entries += more;
        }
    }

    fn open(&mut self, tokens: &Tokens<'_>) -> Result<(), Refusal> {
        let flat_or_full = self.leaves_at.is_none_or(|depth| self.levels.len() < depth);
        // The outermost list has no level above it; a second one cannot follow in well-formed JSON.
        if self.levels.len() >= self.shape.len().max(1) || !flat_or_full {
            let found = format!("a list at depth {} (byte {})", self.levels.len() + 1, tokens.at);
            return Err(self.wrong_nesting(found));
        }
        self.entries(1);
        self.levels.push(0);
        Ok(())
    }

    fn leaf(&mut self) -> Result<(), Refusal> {
        let depth = self.levels.len();
        let fits = match self.leaves_at {
            Some(known) => known == depth,
            None => depth == 1 || (depth > 1 && depth == self.shape.len()),
        };
        if !fits {
            return Err(self.wrong_nesting(format!("an element at depth {depth}")));
        }
        self.leaves_at = Some(depth);
        self.entries(1);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refusal> {
        let entries = self.levels.pop().unwrap_or_default();
        let nested = self.leaves_at.is_none_or(|depth| depth > 1) && self.shape.len() > 1;
        let outermost = self.levels.is_empty();
        if nested && !(outermost && entries == 0) && self.shape.get(self.levels.len()) != Some(&entries) {
            return Err(self.wrong_nesting(format!("{entries} entries at depth {}", self.levels.len() + 1)));
        }
        Ok(())
    }

    fn wrong_nesting(&self, found: String) -> Refusal {
        let shape = self.shape;
        Refusal::new(
            self.path,
            found,
            format!("one flat list of {} elements, or lists nested as {shape:?}", self.count),
        )
    }

    fn wrong_count(&self, found: String) -> Refusal {
        Refusal::new(self.path, found, format!("{} elements, as the shape {:?} says", self.count, self.shape))
    }
}

enum Token<'a> {
    Open,
    Close,
    /// A number, text or word, as it stands.
    Scalar(&'a str),
    Object,
}

/// Walks well-formed JSON; what is not well-formed was refused before.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Appends up to `most` numbers that follow in the same list, and says how many. Stops before anything that is none, or not finite: the
    /// walk token by token finds out what it is. Nearly all bytes of nearly all requests are read here.
    fn floats<T: Float>(&mut self, raw: &mut Vec<u8>, most: usize) -> usize {
        let bytes = self.text.as_bytes();
        for read in 0..most {
            let mut at = self.at;
            while bytes.get(at).is_some_and(|byte| matches!(byte, b',' | b' ' | b'\t' | b'\n' | b'\r')) {
                at += 1;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let number = rest.first().filter(|byte| is_of_number(**byte)).and_then(|_| T::read(rest));
            let Some((value, length)) = number else { return read };
            raw.extend_from_slice(value.as_ref());
            self.at = at + length;
        }
        most
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            let start = self.at;
            self.at += 1;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' => {}
                b'[' => return Some(Token::Open),
                b']' => return Some(Token::Close),
                b'{' => return Some(Token::Object),
                b'"' => {
                    while let Some(byte) = bytes.get(self.at) {
                        self.at += 1;
                        match byte {
                            b'\\' => self.at += 1,
                            b'"' => break,
                            _ => {}
                        }
                    }
                    return self.text.get(start..self.at).map(Token::Scalar);
                }
                _ => {
                    let more = |b: &u8| !matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}');
                    while bytes.get(self.at).is_some_and(more) {
                        self.at += 1;
                    }
                    return self.text.get(start..self.at).map(Token::Scalar);
                }
            }
        }
        None
    }
}

/// Appends one element; the error is what would have been accepted.
fn write(raw: &mut Vec<u8>, scalar: &str, data_type: DataType, bytes_as: BytesAs) -> Result<(), &'static str> {
    let refused = || wanted(data_type);
    macro_rules! number {
        ($type:ty) => {
            raw.extend_from_slice(&scalar.parse::<$type>().map_err(|_| refused())?.to_le_bytes())
        };
    }
    match data_type {
        DataType::Bool => raw.push(match scalar {
            "true" | "1" => 1,
            "false" | "0" => 0,
            _ => return Err(refused()),
        }),
        DataType::Int8 => number!(i8),
        DataType::Int16 => number!(i16),
        DataType::Int32 => number!(i32),
        DataType::Int64 => number!(i64),
        // The standard library reads "-0" as no unsigned number, and so do we.
        DataType::Uint8 => number!(u8),
        DataType::Uint16 => number!(u16),
        DataType::Uint32 => number!(u32),
        DataType::Uint64 => number!(u64),
        DataType::Fp16 => {
            let half = half::from_f64(float::<f64>(scalar).ok_or_else(refused)?);
            if half & 0x7c00 == 0x7c00 {
                return Err(refused());
            }
            raw.extend_from_slice(&half.to_le_bytes());
        }
        DataType::Bf16 => {
            let bits = half::bf16_from_f32(float::<f32>(scalar).ok_or_else(refused)?);
            if bits & 0x7f80 == 0x7f80 {
                return Err(refused());
            }
            raw.extend_from_slice(&bits.to_le_bytes());
        }
        DataType::Fp32 => {
            let value = float::<f32>(scalar).filter(|value| value.is_finite()).ok_or_else(refused)?;
            raw.extend_from_slice(&value.to_le_bytes());
        }
        DataType::Fp64 => {
            let value = float::<f64>(scalar).filter(|value| value.is_finite()).ok_or_else(refused)?;
            raw.extend_from_slice(&value.to_le_bytes());
        }
        DataType::Bytes => write_bytes(raw, scalar, bytes_as)?,
    }
    Ok(())
}

/// A number as JSON writes it.
fn float<T: std::str::FromStr>(scalar: &str) -> Option<T> {
    if scalar.as_bytes().first().is_some_and(|first| is_of_number(*first)) { scalar.parse().ok() } else { None }
}

fn write_bytes(raw: &mut Vec<u8>, scalar: &str, bytes_as: BytesAs) -> Result<(), &'static str> {
    let text: Cow<'_, str> = match scalar.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        Some(_) => Cow::Owned(serde_json::from_str(scalar).map_err(|_| wanted(DataType::Bytes))?),
        None => return Err(wanted(DataType::Bytes)),
    };
    let bytes = match bytes_as {
        BytesAs::Text => Cow::Borrowed(text.as_bytes()),
        BytesAs::Base64 => Cow::Owned(BASE64.decode(text.as_bytes()).map_err(|_| "a text in base64 with padding")?),
    };
    let length = u32::try_from(bytes.len()).map_err(|_| "a text shorter than 4 GiB")?;
    raw.extend_from_slice(&length.to_le_bytes());
    raw.extend_from_slice(&bytes);
    Ok(())
}

/// What an element of that type may be.
const fn wanted(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "true or false",
        DataType::Int8 => "a whole number from -128 to 127",
        DataType::Int16 => "a whole number from -32768 to 32767",
        DataType::Int32 => "a whole number from -2147483648 to 2147483647",
        DataType::Int64 => "a whole number of 64 bits",
        DataType::Uint8 => "a whole number from 0 to 255",
        DataType::Uint16 => "a whole number from 0 to 65535",
        DataType::Uint32 => "a whole number from 0 to 4294967295",
        DataType::Uint64 => "a whole number of 64 bits, not negative",
        DataType::Fp16 => "a finite number within the range of FP16 (±65504)",
        DataType::Bf16 => "a finite number within the range of BF16 (±3.4e38)",
        DataType::Fp32 => "a finite number within the range of FP32 (±3.4e38)",
        DataType::Fp64 => "a finite number within the range of FP64 (±1.8e308)",
        DataType::Bytes => "a text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fp32(text: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let raw = read("data", text, DataType::Fp32, shape, shape.iter().product(), BytesAs::Text);
        let values = |raw: Vec<u8>| raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        raw.map(values).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn flat_and_nested_data_are_the_same_tensor() {
        for text in ["[1,2.5,-3e0,4]", "[[1,2.5],[-3e0,4]]", " [ [ 1 , 2.5 ] ,\n[ -3.0 , 4 ] ] "] {
            assert_eq!(fp32(text, &[2, 2]).unwrap(), [1.0, 2.5, -3.0, 4.0], "{text}");
        }
        assert_eq!(fp32("[7]", &[]).unwrap(), [7.0]);
        assert_eq!(fp32("[7]", &[1, 1, 1]).unwrap(), [7.0]);
        assert_eq!(fp32("[[[7]]]", &[1, 1, 1]).unwrap(), [7.0]);
        assert_eq!(fp32("[]", &[0, 4]).unwrap(), [] as [f32; 0]);
    }

    #[test]
    fn data_that_is_not_of_the_shape_is_refused() {
        for (text, shape, says) in [
            ("[1,2,3]", &[2, 2][..], "3 elements is not accepted; allowed: 4 elements"),
            ("[1,2,3,4,5]", &[2, 2], "more than 4 elements"),
            ("[[1,2],[3]]", &[2, 2], "1 entries at depth 2"),
            ("[[1,2,3],[4]]", &[2, 2], "3 entries at depth 2"),
            ("[[1],[2],[3],[4]]", &[2, 2], "1 entries at depth 2"),
            ("[[1,2]]", &[2, 2], "1 entries at depth 1"),
            ("[[[1,2,3,4]]]", &[2, 2], "a list at depth 3"),
            ("[1,[2,3],4]", &[2, 2], "a list at depth 2"),
            ("[[1,2],3,4]", &[2, 2], "an element at depth 1"),
            ("[[1,2]]", &[2], "a list at depth 2"),
            ("7", &[1], "an element at depth 0"),
            ("[{\"a\":1}]", &[1], "an object"),
            ("[]", &[1], "0 elements"),
        ] {
            let found = fp32(text, shape).unwrap_err();
            assert!(found.contains(says), "{text}: {found}");
        }
    }

    #[test]
    fn a_deep_nest_is_refused_at_its_first_bracket_too_many() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(fp32(&deep, &[1, 1]).unwrap_err().contains("a list at depth 3"));
    }

    #[test]
    fn an_element_that_is_no_number_of_the_type_is_named_by_its_index() {
        for (data_type, text) in [
            (DataType::Fp32, "[0,\"NaN\"]"),
            (DataType::Fp32, "[0,null]"),
            (DataType::Fp32, "[0,true]"),
            (DataType::Fp32, "[0,1e39]"),
            (DataType::Fp32, "[0,-1e999]"),
            (DataType::Fp64, "[0,1e309]"),
            (DataType::Fp16, "[0,65520]"),
            (DataType::Int8, "[0,128]"),
            (DataType::Int8, "[0,1.0]"),
            (DataType::Int32, "[0,2147483648]"),
            (DataType::Int64, "[0,9223372036854775808]"),
            (DataType::Int64, "[0,1e3]"),
            (DataType::Uint8, "[0,-1]"),
            (DataType::Uint16, "[0,65536]"),
            (DataType::Uint64, "[0,18446744073709551616]"),
            (DataType::Bool, "[false,2]"),
            (DataType::Bool, "[false,\"true\"]"),
            (DataType::Bytes, "[\"\",7]"),
        ] {
            let refusal = read("inputs[0].data", text, data_type, &[2], 2, BytesAs::Text).unwrap_err();
            assert_eq!(refusal.path, "inputs[0].data[1]", "{data_type} {text}");
            assert_eq!(refusal.allowed, wanted(data_type));
        }
    }

    #[test]
    fn a_number_is_rounded_once_to_the_type_that_is_wanted() {
        // Just above the middle of two floats, and exactly the middle once it went through a double.
        let text = "[1.00000017881393432617187499]";
        assert_eq!(fp32(text, &[1]).unwrap()[0].to_bits(), 0x3f80_0001);
    }

    #[test]
    fn texts_are_unescaped_and_bytes_come_in_base64() {
        let raw = read("d", r#"["a\"b","\u00e4",""]"#, DataType::Bytes, &[3], 3, BytesAs::Text).unwrap();
        assert_eq!(raw, [&[3, 0, 0, 0][..], b"a\"b", &[2, 0, 0, 0], "ä".as_bytes(), &[0, 0, 0, 0]].concat());
        let raw = read("d", r#"["/wA="]"#, DataType::Bytes, &[1], 1, BytesAs::Base64).unwrap();
        assert_eq!(raw, [2, 0, 0, 0, 0xff, 0x00]);
        assert!(read("d", r#"["?"]"#, DataType::Bytes, &[1], 1, BytesAs::Base64).is_err());
    }

    #[test]
    fn a_shape_without_its_data_takes_no_memory() {
        let error = read("d", "[1]", DataType::Fp64, &[1 << 40], 1 << 40, BytesAs::Text).unwrap_err();
        assert_eq!(error.value, "1 elements");
    }
}
