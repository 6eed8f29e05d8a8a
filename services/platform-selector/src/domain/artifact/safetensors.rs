//! Safetensors: the length of a JSON header, the header, then the data it describes.

use super::{
    Invalid,
    content::{Content, window},
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The library's own bound on the header, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensors {
    /// How many there are.
    pub count: usize,
    /// How many numbers they hold.
    pub parameters: u64,
    /// How many bytes they take.
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Described {
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Whether the file looks like safetensors at all.
pub(super) fn is_likely(head: &[u8], size: u64) -> bool {
    let length = head.get(..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    head.get(8) == Some(&b'{') && (2..=LONGEST_HEADER).contains(&length) && size > 8
}

/// Reads the header and checks it against the file.
pub(super) fn read<C: Content + ?Sized>(content: &C) -> Result<Tensors, Invalid> {
    let unreadable = |reason| Invalid::new(format!("it cannot be read: {reason}"), "see to the disk");
    let head = window(content, 0, 8).map_err(unreadable)?;
    let length = head.as_slice().try_into().map_or(0, u64::from_le_bytes);
    let data = content.size().saturating_sub(8);
    if length > data {
        return Err(cut(&format!("its header says {length} bytes and {data} are left")));
    }
    let header = window(content, 8, usize::try_from(length).unwrap_or(0)).map_err(unreadable)?;
    let described: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|error| broken(&error))?;
    let held = data - length;
    let mut tensors = Tensors { count: 0, parameters: 0, bytes: 0 };
    for (name, value) in described {
        if name == "__metadata__" {
            continue;
        }
        let tensor: Described = serde_json::from_value(value).map_err(|error| broken(&error))?;
        let [start, end] = tensor.data_offsets;
        if start > end || end > held {
            return Err(cut(&format!("a tensor lies at bytes {start} to {end} of {held}")));
        }
        let elements = tensor.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
        // Types below one byte do not exist in this format.
        let elements = elements.filter(|elements| *elements <= end - start);
        let elements = elements.ok_or_else(|| cut("a tensor has more elements than bytes"))?;
        tensors.count += 1;
        tensors.parameters = tensors.parameters.saturating_add(elements);
        tensors.bytes = tensors.bytes.saturating_add(end - start);
    }
    Ok(tensors)
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
        assert_eq!(tensors, Tensors { count: 2, parameters: 5, bytes: 20 });
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
    }
}
