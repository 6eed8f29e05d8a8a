//! GGUF, the format of llama.cpp: what a model is (keys and values), its tensors by name, shape and type, then their data. As specified in
//! `docs/gguf.md` of ggml.

use super::{
    Invalid, Model,
    broken::{CUT, LONGEST_NAME, printable, unreadable},
    content::{Content, window},
    memory,
};
use slipway_kernel::ModelFormat;

/// What a file begins with.
pub(super) const MAGIC: &[u8] = b"GGUF";
/// Versions that count in 64 bits; the first did in 32, and no program writes it any more.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
/// Tensors, and keys, of one file. The largest models have some thousands.
const MOST: u64 = 100_000;
/// Texts in lists; a vocabulary has some hundred thousand.
const MOST_TEXTS: u64 = 4_000_000;
/// Dimensions of a tensor; ggml knows four.
const MOST_DIMENSIONS: u32 = 8;
/// Lists in lists.
const DEEPEST: u32 = 4;
/// Data begins at a multiple of this, if the file does not say of which.
const ALIGNMENT: u64 = 32;
const MOST_ALIGNMENT: u64 = 1 << 20;
/// Types of values.
const TEXT: u32 = 8;
const LIST: u32 = 9;

const KIND: &str = "a GGUF file";

/// Reads the model.
///
/// # Errors
/// [`Invalid`], when it is cut short, or says what cannot be.
pub(super) fn read<C: Content + ?Sized>(content: &C) -> Result<Model, Invalid> {
    let mut reader = Reader { content, at: MAGIC.len() as u64, texts: 0 };
    let version = reader.number()?;
    if !VERSIONS.contains(&version) {
        return Err(other_version(version));
    }
    let (tensors, keys) = (reader.large()?, reader.large()?);
    for (count, what) in [(tensors, "tensors"), (keys, "keys")] {
        if count > MOST {
            let found = format!("it is {KIND} that says it has {count} {what}");
            return Err(Invalid::new(found, format!("at most {MOST} are read; see whether it is damaged")));
        }
    }
    if tensors == 0 {
        return Err(Invalid::new(
            format!("it is {KIND} without tensors"),
            "it may be a vocabulary alone: name the file of the model",
        ));
    }
    let described = reader.keys(keys)?;
    let mut model = Model { architecture: described.architecture, ..Model::of_format(ModelFormat::Gguf) };
    let mut end = 0;
    for _ in 0..tensors {
        let tensor = reader.tensor()?;
        model.parameters = model.parameters.saturating_add(tensor.elements);
        end = end.max(tensor.end);
    }
    let begin = reader.at.next_multiple_of(described.alignment);
    let held = content.size().saturating_sub(begin);
    if end > held {
        return Err(Invalid::new(format!("it is {KIND} whose tensors take {end} bytes, and {held} are left"), CUT));
    }
    model.weight_bytes = held;
    model.memory_estimate_bytes = memory::estimate(held, 0);
    Ok(model)
}

fn other_version(version: u32) -> Invalid {
    if VERSIONS.contains(&version.swap_bytes()) {
        return Invalid::new(format!("it is {KIND} in big-endian order"), "convert it to little-endian order");
    }
    let (first, last) = (VERSIONS.start(), VERSIONS.end());
    Invalid::new(
        format!("it is {KIND} of version {version}"),
        format!("versions {first} to {last} are read; convert it again"),
    )
}

/// What of the keys matters here.
struct Described {
    architecture: String,
    alignment: u64,
}

struct Tensor {
    elements: u64,
    /// Where its data ends, from the beginning of all data; where it begins, if it is of a type that is not known.
    end: u64,
}

/// Goes through the file.
struct Reader<'a, C: ?Sized> {
    content: &'a C,
    at: u64,
    /// Texts of lists so far.
    texts: u64,
}

impl<C: Content + ?Sized> Reader<'_, C> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let mut bytes = [0; N];
        let at = self.step(N as u64)?;
        self.content.read_at(at, &mut bytes).map_err(|reason| unreadable(&reason))?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, Invalid> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn large(&mut self) -> Result<u64, Invalid> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Steps over so many bytes, and says where they begin.
    fn step(&mut self, length: u64) -> Result<u64, Invalid> {
        let at = self.at;
        let end = at.checked_add(length).filter(|end| *end <= self.content.size());
        self.at = end.ok_or_else(|| {
            let left = self.content.size() - at;
            Invalid::new(format!("it is {KIND} in which {length} bytes are due at byte {at} and {left} are left"), CUT)
        })?;
        Ok(at)
    }

    /// A text, if it is short and printable; a longer one is stepped over.
    fn text(&mut self) -> Result<Option<String>, Invalid> {
        let length = self.large()?;
        let at = self.step(length)?;
        if length > LONGEST_NAME as u64 {
            return Ok(None);
        }
        let bytes = window(self.content, at, usize::try_from(length).unwrap_or(0));
        Ok(printable(bytes.map_err(|reason| unreadable(&reason))?))
    }

    fn keys(&mut self, count: u64) -> Result<Described, Invalid> {
        let mut described = Described { architecture: String::new(), alignment: ALIGNMENT };
        for _ in 0..count {
            let key = self.text()?.unwrap_or_default();
            let kind = self.number()?;
            match (key.as_str(), kind) {
                ("general.architecture", TEXT) => described.architecture = self.text()?.unwrap_or_default(),
                ("general.alignment", 4) => {
                    let alignment = u64::from(self.number()?);
                    if !alignment.is_power_of_two() || alignment > MOST_ALIGNMENT {
                        let found = format!("it is {KIND} whose data is aligned to {alignment}");
                        return Err(Invalid::new(
                            found,
                            format!("a power of two up to {MOST_ALIGNMENT} is wanted; convert it again"),
                        ));
                    }
                    described.alignment = alignment;
                }
                _ => self.skip(kind, 0)?,
            }
        }
        Ok(described)
    }

    /// Steps over a value.
    fn skip(&mut self, kind: u32, depth: u32) -> Result<(), Invalid> {
        if let Some(length) = length_of(kind) {
            return self.step(length).map(drop);
        }
        match kind {
            TEXT => {
                let length = self.large()?;
                self.step(length).map(drop)
            }
            LIST if depth < DEEPEST => {
                let (kind, count) = (self.number()?, self.large()?);
                if let Some(length) = length_of(kind) {
                    return self.step(count.saturating_mul(length)).map(drop);
                }
                self.texts = self.texts.saturating_add(count);
                if self.texts > MOST_TEXTS {
                    let found = format!("it is {KIND} with more than {MOST_TEXTS} texts in its lists");
                    return Err(Invalid::new(found, "no vocabulary has as many: see whether it is damaged"));
                }
                (0..count).try_for_each(|_| self.skip(kind, depth + 1))
            }
            _ => Err(Invalid::new(format!("it is {KIND} with a value of an unknown type ({kind})"), CUT)),
        }
    }

    fn tensor(&mut self) -> Result<Tensor, Invalid> {
        let impossible = || Invalid::new(format!("it is {KIND} with a tensor of an impossible shape"), CUT);
        self.text()?;
        let dimensions = self.number()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(impossible());
        }
        let mut elements = 1_u64;
        for _ in 0..dimensions {
            elements = elements.checked_mul(self.large()?).ok_or_else(impossible)?;
        }
        let (kind, offset) = (self.number()?, self.large()?);
        // In a type that is not known, a number takes no bytes that could be told.
        let (block, length) = block_of(kind).unwrap_or((1, 0));
        let bytes = elements.div_ceil(block).checked_mul(length);
        let end = bytes.and_then(|bytes| offset.checked_add(bytes)).ok_or_else(impossible)?;
        Ok(Tensor { elements, end })
    }
}

/// Bytes of a value of this type; none of texts, lists and what is not known.
const fn length_of(kind: u32) -> Option<u64> {
    match kind {
        // uint8, int8, bool; uint16, int16; uint32, int32, float32; uint64, int64, float64.
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Numbers of a block, and its bytes, by `ggml_type` (`GGML_QUANT_SIZES` of gguf-py).
const fn block_of(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        24 => (1, 1),
        1 | 25 | 30 => (1, 2),
        0 | 26 => (1, 4),
        27 | 28 => (1, 8),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 40),
        39 => (32, 17),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        29 => (256, 56),
        34 => (256, 54),
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod write {
    //! Writing of GGUF, for tests.

    pub(crate) fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// A key with a value of this type.
    pub(crate) fn key(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        [text(name), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
    }

    pub(crate) fn tensor(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
        let shape_bytes: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
        let dimensions = (shape.len() as u32).to_le_bytes();
        [text(name), dimensions.to_vec(), shape_bytes, kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()]
            .concat()
    }

    pub(crate) fn file(version: u32, keys: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
        let counts = [tensors.len() as u64, keys.len() as u64].map(u64::to_le_bytes).concat();
        let mut file =
            [b"GGUF".to_vec(), version.to_le_bytes().to_vec(), counts, keys.concat(), tensors.concat()].concat();
        file.resize(file.len().next_multiple_of(32) + data, 0);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::{
        write::{file, key, tensor, text},
        *,
    };

    fn keys() -> Vec<Vec<u8>> {
        let words = [8_u32.to_le_bytes().to_vec(), 2_u64.to_le_bytes().to_vec(), text("a"), text("b")].concat();
        let numbers = [5_u32.to_le_bytes().to_vec(), 3_u64.to_le_bytes().to_vec(), vec![0; 12]].concat();
        vec![
            key("general.architecture", TEXT, &text("llama")),
            key("llama.context_length", 4, &[0, 16, 0, 0]),
            key("tokenizer.ggml.tokens", LIST, &words),
            key("tokenizer.ggml.token_type", LIST, &numbers),
        ]
    }

    fn refused(file: &[u8]) -> String {
        read(file).unwrap_err().to_string()
    }

    #[test]
    fn architecture_parameters_and_weights_are_read() {
        let tensors = [tensor("a", &[256, 2], 12, 0), tensor("b", &[4], 0, 288), tensor("c", &[], 0, 304)];
        let model = read(&file(3, &keys(), &tensors, 308)[..]).unwrap();
        assert_eq!((model.format, model.architecture.as_str()), (ModelFormat::Gguf, "llama"));
        assert_eq!((model.parameters, model.weight_bytes, model.memory_estimate_bytes), (517, 308, 616));
    }

    #[test]
    fn a_file_cut_anywhere_is_said_to_be() {
        let whole = file(2, &keys(), &[tensor("a", &[256, 2], 12, 0)], 288);
        assert!(read(&whole[..]).is_ok());
        for length in MAGIC.len()..whole.len() {
            assert!(refused(&whole[..length]).contains("left"), "{length}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let one = || [tensor("a", &[4], 0, 0)];
        let nested =
            (0..6).fold(vec![0; 4], |inner, _| [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &inner].concat());
        let endless = [8_u32.to_le_bytes().to_vec(), u64::MAX.to_le_bytes().to_vec()].concat();
        let mut crowded = file(3, &[], &one(), 16);
        crowded[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        for (file, word) in [
            (file(1, &[], &one(), 16), "of version 1"),
            (file(3_u32.swap_bytes(), &[], &one(), 16), "big-endian"),
            (file(3, &keys(), &[], 0), "without tensors"),
            (file(3, &[], &[tensor("a", &[u64::MAX, 2], 0, 0)], 16), "impossible shape"),
            (file(3, &[], &[tensor("a", &[4], 0, u64::MAX)], 16), "impossible shape"),
            (file(3, &[], &[tensor("a", &[1; 9], 0, 0)], 16), "impossible shape"),
            (file(3, &[], &[tensor("a", &[5], 0, 0)], 16), "take 20 bytes, and 16 are left"),
            (file(3, &[key("k", 77, b"")], &one(), 16), "unknown type (77)"),
            (file(3, &[key("k", LIST, &nested)], &one(), 16), "unknown type (9)"),
            (file(3, &[key("k", LIST, &endless)], &one(), 16), "texts in its lists"),
            (file(3, &[key("general.alignment", 4, &[0; 4])], &one(), 16), "aligned to 0"),
            (crowded, "18446744073709551615 tensors"),
        ] {
            let refused = refused(&file);
            assert!(refused.contains(word), "{word}: {refused}");
        }
    }
}
