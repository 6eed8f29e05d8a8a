//! Zip archives, as far as their table of contents: PyTorch writes its models and its pickles as such. Nothing is unpacked.

use super::{Invalid, content::Content, content::window, foreign};

/// Entries read. TorchScript archives have one per tensor and source file; the largest have some thousands.
const MOST_ENTRIES: u64 = 100_000;
/// The largest table of contents read, in bytes.
const MOST_TABLE: u64 = 16 << 20;
/// The record at the end, and the longest comment it may have.
const END_RECORD: usize = 22;
const LONGEST_COMMENT: usize = 65_535;

/// Whether the archive is TorchScript.
///
/// # Errors
/// [`Invalid`] for everything else, naming what it is.
pub(super) fn is_torchscript<C: Content + ?Sized>(content: &C) -> Result<(), Invalid> {
    let names = Names::of(content)?;
    let has = |end: &str| names.0.iter().any(|name| name.ends_with(end));
    let has_code = names.0.iter().any(|name| name.contains("/code/") || name.starts_with("code/"));
    match (has("constants.pkl"), has_code, has("data.pkl")) {
        (true, true, _) => Ok(()),
        (_, _, true) => Err(foreign::pickle(
            "a PyTorch archive without code, which is a state dict or a pickled module and not TorchScript",
        )),
        _ if has("metadata.json") && has(".weights.h5") => {
            Err(Invalid::new("it is a Keras archive", "export the model to ONNX (tf2onnx) or as a SavedModel"))
        }
        _ if !names.0.is_empty() && names.0.iter().all(|name| name.ends_with(".npy")) => {
            Err(Invalid::new("it is an archive of NumPy arrays", "export the model to ONNX and name that file"))
        }
        _ => Err(Invalid::new("it is a zip archive and no TorchScript", "unpack it and name the model file in it")),
    }
}

struct Names(Vec<String>);

impl Names {
    fn of<C: Content + ?Sized>(content: &C) -> Result<Self, Invalid> {
        let size = content.size();
        let tail_from = size.saturating_sub((END_RECORD + LONGEST_COMMENT) as u64);
        let tail = window(content, tail_from, END_RECORD + LONGEST_COMMENT).map_err(|reason| unreadable(&reason))?;
        let end = tail.windows(4).rposition(|four| four == b"PK\x05\x06").ok_or_else(cut)?;
        let record = tail.get(end..end + END_RECORD).ok_or_else(cut)?;
        let (mut entries, mut length, mut start) =
            (u64::from(u16_at(record, 10)), u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
        if entries == 0xffff || length == 0xffff_ffff || start == 0xffff_ffff {
            (entries, length, start) = large(content, &tail[..end])?;
        }
        if entries > MOST_ENTRIES || length > MOST_TABLE {
            return Err(Invalid::new(
                format!("it is a zip archive with {entries} entries and a table of {length} bytes"),
                format!("at most {MOST_ENTRIES} entries and {MOST_TABLE} bytes are read; export the model to ONNX"),
            ));
        }
        if start.checked_add(length).is_none_or(|table_end| table_end > size) {
            return Err(cut());
        }
        let table =
            window(content, start, usize::try_from(length).unwrap_or(0)).map_err(|reason| unreadable(&reason))?;
        Self::listed(&table, entries)
    }

    fn listed(mut table: &[u8], entries: u64) -> Result<Self, Invalid> {
        let mut names = Vec::new();
        for _ in 0..entries {
            let header = table.get(..46).filter(|header| header.starts_with(b"PK\x01\x02")).ok_or_else(cut)?;
            let name_length = usize::from(u16_at(header, 28));
            let rest = usize::from(u16_at(header, 30)) + usize::from(u16_at(header, 32));
            let name = table.get(46..46 + name_length).ok_or_else(cut)?;
            names.push(String::from_utf8_lossy(name).into_owned());
            table = table.get(46 + name_length + rest..).ok_or_else(cut)?;
        }
        Ok(Self(names))
    }
}

/// Entries, length and start of the table in an archive beyond four gibibytes.
fn large<C: Content + ?Sized>(content: &C, before_end: &[u8]) -> Result<(u64, u64, u64), Invalid> {
    let locator = before_end.len().checked_sub(20).map(|start| &before_end[start..]);
    let locator = locator.filter(|locator| locator.starts_with(b"PK\x06\x07")).ok_or_else(cut)?;
    let record = window(content, u64_at(locator, 8), 56).map_err(|reason| unreadable(&reason))?;
    if record.len() < 56 || !record.starts_with(b"PK\x06\x06") {
        return Err(cut());
    }
    Ok((u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48)))
}

fn cut() -> Invalid {
    Invalid::new(
        "it begins like a zip archive and its table of contents is missing or broken",
        "the file seems to be cut short; fetch or export it again",
    )
}

fn unreadable(reason: &str) -> Invalid {
    Invalid::new(format!("it cannot be read: {reason}"), "see to the disk")
}

/// Numbers in zip are little-endian. Callers have checked the length.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).unwrap_or([0; N])
}

#[cfg(test)]
pub(super) mod write {
    //! Writing of zip archives, for tests.

    /// An archive of empty files with these names.
    pub(crate) fn archive(names: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut table = Vec::new();
        for name in names {
            let offset = bytes.len() as u32;
            let length = (name.len() as u16).to_le_bytes();
            bytes.extend_from_slice(b"PK\x03\x04");
            bytes.extend_from_slice(&[0; 22]);
            bytes.extend_from_slice(&length);
            bytes.extend_from_slice(&[0; 2]);
            bytes.extend_from_slice(name.as_bytes());
            table.extend_from_slice(b"PK\x01\x02");
            table.extend_from_slice(&[0; 24]);
            table.extend_from_slice(&length);
            table.extend_from_slice(&[0; 12]);
            table.extend_from_slice(&offset.to_le_bytes());
            table.extend_from_slice(name.as_bytes());
        }
        let start = bytes.len() as u32;
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(b"PK\x05\x06");
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&(names.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(table.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&start.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{write::archive, *};

    fn found(names: &[&str]) -> String {
        is_torchscript(&archive(names)[..]).unwrap_err().found
    }

    #[test]
    fn code_and_constants_make_torchscript() {
        let names = ["m/data.pkl", "m/constants.pkl", "m/code/__torch__.py", "m/version"];
        assert_eq!(is_torchscript(&archive(&names)[..]), Ok(()));
    }

    #[test]
    fn other_archives_are_named() {
        assert!(found(&["m/data.pkl", "m/data/0", "m/version"]).contains("without code"));
        assert!(found(&["metadata.json", "config.json", "model.weights.h5"]).contains("Keras"));
        assert!(found(&["a.npy", "b.npy"]).contains("NumPy"));
        assert!(found(&["word/document.xml"]).contains("no TorchScript"));
        assert!(found(&[]).contains("no TorchScript"));
    }

    #[test]
    fn an_archive_cut_short_is_said_to_be() {
        let whole = archive(&["m/constants.pkl", "m/code/a.py"]);
        for length in 4..whole.len() {
            let invalid = is_torchscript(&whole[..length]).unwrap_err();
            assert!(invalid.advice.contains("cut short"), "{length}: {invalid}");
        }
    }

    #[test]
    fn a_table_that_claims_too_much_is_not_read() {
        let mut bytes = archive(&["a"]);
        let end = bytes.len() - END_RECORD;
        bytes[end + 12..end + 16].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
        assert!(is_torchscript(&bytes[..]).unwrap_err().advice.contains("at most"));
    }
}
