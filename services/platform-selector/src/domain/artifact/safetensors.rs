//! Safetensors: the length of a JSON header, the header, then the data it describes.

use super::{
    Invalid,
    broken::unreadable,
    content::{Content, window},
};
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// The library's own bound on the header, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;
/// What is held of it. A tensor takes about a hundred bytes of it, and no model has as many as this allows.
const MOST_HEADER: u64 = 16 << 20;
/// Dimensions of a tensor.
const MOST_DIMENSIONS: usize = 64;

/// What the header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tensors {
    /// How many numbers they hold.
    pub(super) parameters: u64,
    /// How many bytes they take.
    pub(super) bytes: u64,
}

/// One tensor. Its name is nobody's business, and its numbers are not kept: a header can have millions.
#[derive(Deserialize)]
struct Described {
    shape: Elements,
    data_offsets: [u64; 2],
}

/// The product of a shape; none when it is beyond all numbers.
struct Elements(Option<u64>);

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Shape)
    }
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = Elements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOST_DIMENSIONS} sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sizes: A) -> Result<Elements, A::Error> {
        let (mut product, mut dimensions) = (Some(1_u64), 0);
        while let Some(size) = sizes.next_element::<u64>()? {
            dimensions += 1;
            if dimensions > MOST_DIMENSIONS {
                return Err(de::Error::invalid_length(dimensions, &self));
            }
            product = product.and_then(|product| product.checked_mul(size));
        }
        Ok(Elements(product))
    }
}

/// Goes through the header, a tensor at a time.
struct Header {
    /// Bytes behind it.
    held: u64,
}

/// What was found in it, and the first thing that does not fit the file.
type Found = (Tensors, Option<String>);

impl<'de> DeserializeSeed<'de> for Header {
    type Value = Found;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Header {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let (mut tensors, mut misfit) = (Tensors::default(), None);
        while let Some(key) = map.next_key::<Key>()? {
            if key == Key::Metadata {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let Described { shape, data_offsets: [start, end] } = map.next_value()?;
            if start > end || end > self.held {
                misfit.get_or_insert_with(|| format!("a tensor lies at bytes {start} to {end} of {}", self.held));
                continue;
            }
            // Types below one byte do not exist in this format.
            let Some(elements) = shape.0.filter(|elements| *elements <= end - start) else {
                misfit.get_or_insert_with(|| "a tensor has more elements than bytes".to_owned());
                continue;
            };
            tensors.parameters = tensors.parameters.saturating_add(elements);
            tensors.bytes = tensors.bytes.saturating_add(end - start);
        }
        Ok((tensors, misfit))
    }
}

#[derive(PartialEq, Eq)]
enum Key {
    Metadata,
    Tensor,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Key, E> {
                Ok(if name == "__metadata__" { Key::Metadata } else { Key::Tensor })
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// Whether the file looks like safetensors at all.
pub(super) fn is_likely(head: &[u8], size: u64) -> bool {
    let length = head.get(..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    head.get(8) == Some(&b'{') && (2..=LONGEST_HEADER).contains(&length) && size > 8
}

/// Reads the header and checks it against the file.
pub(super) fn read<C: Content + ?Sized>(content: &C) -> Result<Tensors, Invalid> {
    let head = window(content, 0, 8).map_err(|reason| unreadable(&reason))?;
    let length = head.as_slice().try_into().map_or(0, u64::from_le_bytes);
    let data = content.size().saturating_sub(8);
    if length > data {
        return Err(cut(&format!("its header says {length} bytes and {data} are left")));
    }
    if length > MOST_HEADER {
        let found = format!("it is a safetensors file with a header of {length} bytes");
        return Err(Invalid::new(found, format!("at most {MOST_HEADER} are read; export the model to ONNX")));
    }
    let header = window(content, 8, usize::try_from(length).unwrap_or(0)).map_err(|reason| unreadable(&reason))?;
    let mut text = serde_json::Deserializer::from_slice(&header);
    let found = Header { held: data - length }.deserialize(&mut text).and_then(|found| text.end().map(|()| found));
    match found.map_err(|error| broken(&error))? {
        (_, Some(misfit)) => Err(cut(&misfit)),
        (tensors, None) => Ok(tensors),
    }
}

fn cut(why: &str) -> Invalid {
    Invalid::new(
        format!("it is a safetensors file that does not fit its own header: {why}"),
        "the file seems to be cut short; fetch or export it again",
    )
}

fn broken(error: &serde_json::Error) -> Invalid {
    Invalid::new(
        format!("it begins like a safetensors file and its header is broken at column {}", error.column()),
        "export it again",
    )
}

#[cfg(test)]
pub(super) mod write {
    //! Writing of safetensors, for tests.

    pub(crate) fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{write::file, *};

    const HEADER: &str = r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[],"data_offsets":[16,20]}}"#;

    #[test]
    fn tensors_parameters_and_bytes_are_counted() {
        let tensors = read(&file(HEADER, 20)[..]).unwrap();
        assert_eq!(tensors, Tensors { parameters: 5, bytes: 20 });
    }

    #[test]
    fn a_file_that_does_not_fit_its_header_is_refused() {
        let short = read(&file(HEADER, 10)[..]).unwrap_err();
        assert!(short.found.contains("bytes 16 to 20 of 10") || short.found.contains("of 10"), "{short}");
        let huge = file(r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}"#, 16);
        assert!(read(&huge[..]).unwrap_err().found.contains("more elements than bytes"));
        assert!(read(&file("{nothing", 0)[..]).unwrap_err().found.contains("broken"));
        let mut cut = file(HEADER, 0);
        cut.truncate(40);
        assert!(read(&cut[..]).unwrap_err().found.contains("are left"));
        let sizes = vec!["1"; MOST_DIMENSIONS + 1].join(",");
        let flat = file(&format!(r#"{{"w":{{"dtype":"F32","shape":[{sizes}],"data_offsets":[0,4]}}}}"#), 4);
        assert!(read(&flat[..]).unwrap_err().found.contains("broken"));
    }
}
