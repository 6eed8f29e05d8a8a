//! Zip archives: PyTorch writes its models and its pickles as such. Their table of contents is read, and of an entry as much as is asked
//! for; an archive is never unpacked.

use super::{
    Invalid,
    broken::{CUT, unreadable},
    content::{Content, window},
    foreign,
};
use flate2::{Decompress, FlushDecompress, Status};

/// Entries read. TorchScript archives have one per tensor and source file; the largest have some thousands.
const MOST_ENTRIES: u64 = 100_000;
/// The largest table of contents read, in bytes.
const MOST_TABLE: u64 = 16 << 20;
/// The record at the end, and the longest comment it may have.
const END_RECORD: usize = 22;
const LONGEST_COMMENT: usize = 65_535;
/// What stands before the name of an entry in the table, and before its content.
const TABLE_HEADER: usize = 46;
const LOCAL_HEADER: usize = 30;
/// Packed bytes read at once.
const CHUNK: u64 = 64 << 10;
/// Ways of packing.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The table of contents.
pub(super) struct Archive {
    pub(super) entries: Vec<Entry>,
}

/// One file in the archive, as the table tells of it.
pub(super) struct Entry {
    pub(super) name: String,
    /// Bytes of its content.
    pub(super) size: u64,
    packed: u64,
    method: u16,
    /// Where its own header lies.
    header: u64,
}

impl Archive {
    /// Reads the table of a TorchScript archive.
    ///
    /// # Errors
    /// [`Invalid`] for everything else, naming what it is.
    pub(super) fn of_torchscript<C: Content + ?Sized>(content: &C) -> Result<Self, Invalid> {
        let archive = Self::of(content)?;
        let names = || archive.entries.iter().map(|entry| entry.name.as_str());
        let has = |end: &str| names().any(|name| name.ends_with(end));
        let has_code = names().any(|name| name.contains("/code/") || name.starts_with("code/"));
        match (has("constants.pkl"), has_code, has("data.pkl")) {
            (true, true, _) => Ok(archive),
            (_, _, true) => Err(foreign::pickle(
                "a PyTorch archive without code, which is a state dict or a pickled module and not TorchScript",
            )),
            _ if has("metadata.json") && has(".weights.h5") => {
                Err(Invalid::new("it is a Keras archive", "export the model to ONNX (tf2onnx) or as a SavedModel"))
            }
            _ if !archive.entries.is_empty() && names().all(|name| name.ends_with(".npy")) => {
                Err(Invalid::new("it is an archive of NumPy arrays", "export the model to ONNX and name that file"))
            }
            _ => Err(Invalid::new("it is a zip archive and no TorchScript", "unpack it and name the model file in it")),
        }
    }

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
        let mut listed = Vec::new();
        for _ in 0..entries {
            let header =
                table.get(..TABLE_HEADER).filter(|header| header.starts_with(b"PK\x01\x02")).ok_or_else(cut)?;
            let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(header, at)));
            let rest = &table[TABLE_HEADER..];
            let extra = rest.get(name..name + extra).ok_or_else(cut)?;
            let name = rest.get(..name).ok_or_else(cut)?;
            let mut large = Large::of(extra);
            // In this order they stand in the extra field, those alone that are too large for their place.
            let size = large.or(u32_at(header, 24));
            let packed = large.or(u32_at(header, 20));
            let header_at = large.or(u32_at(header, 42));
            table = rest.get(name.len() + extra.len() + comment..).ok_or_else(cut)?;
            let name = String::from_utf8_lossy(name).into_owned();
            listed.push(Entry { name, size, packed, method: u16_at(header, 10), header: header_at });
        }
        Ok(Self { entries: listed })
    }
}

/// The numbers of an entry that do not fit into 32 bits (extra field 1).
struct Large<'a>(&'a [u8]);

impl<'a> Large<'a> {
    fn of(mut extra: &'a [u8]) -> Self {
        while let Some(field) = extra.get(..4) {
            let length = usize::from(u16_at(field, 2));
            if u16_at(field, 0) == 1 {
                return Self(extra.get(4..4 + length).unwrap_or_default());
            }
            extra = extra.get(4 + length..).unwrap_or_default();
        }
        Self(&[])
    }

    /// `small`, or where it says that it is elsewhere, the next number.
    fn or(&mut self, small: u32) -> u64 {
        match self.0.split_at_checked(8).filter(|_| small == u32::MAX) {
            Some((number, rest)) => {
                self.0 = rest;
                u64_at(number, 0)
            }
            None => u64::from(small),
        }
    }
}

impl Entry {
    /// The first bytes of its content, `most` at most. What is held is no more than that, whatever the archive says.
    ///
    /// # Errors
    /// [`Invalid`], when it is not where and what the table says.
    pub(super) fn beginning<C: Content + ?Sized>(&self, content: &C, most: usize) -> Result<Vec<u8>, Invalid> {
        let start = self.start(content)?;
        let wanted = usize::try_from(self.size).map_or(most, |size| size.min(most));
        match self.method {
            STORED => window(content, start, wanted).map_err(|reason| unreadable(&reason)),
            DEFLATED => inflated(content, start, start + self.packed, wanted),
            _ => {
                Err(Invalid::new("it is a zip archive packed in a way that PyTorch does not", "export the model again"))
            }
        }
    }

    /// Where the content begins, all of which is there.
    fn start<C: Content + ?Sized>(&self, content: &C) -> Result<u64, Invalid> {
        let header = window(content, self.header, LOCAL_HEADER).map_err(|reason| unreadable(&reason))?;
        if header.len() < LOCAL_HEADER || !header.starts_with(b"PK\x03\x04") {
            return Err(damaged());
        }
        let before = LOCAL_HEADER as u64 + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let start = self.header + before;
        let whole = start.checked_add(self.packed).is_some_and(|end| end <= content.size());
        let plain = self.method != STORED || self.packed == self.size;
        if whole && plain { Ok(start) } else { Err(damaged()) }
    }
}

/// The first `wanted` bytes of what lies deflated in `at..end`.
fn inflated<C: Content + ?Sized>(content: &C, mut at: u64, end: u64, wanted: usize) -> Result<Vec<u8>, Invalid> {
    let mut state = Decompress::new(false);
    let mut unpacked = Vec::with_capacity(wanted);
    while unpacked.len() < wanted {
        let chunk = usize::try_from((end - at).min(CHUNK)).unwrap_or_default();
        let packed = window(content, at, chunk).map_err(|reason| unreadable(&reason))?;
        let (read, made) = (state.total_in(), unpacked.len());
        let status = state.decompress_vec(&packed, &mut unpacked, FlushDecompress::None).map_err(|_| damaged())?;
        let read = state.total_in() - read;
        at += read;
        if status == Status::StreamEnd || (read == 0 && unpacked.len() == made) {
            break;
        }
    }
    unpacked.truncate(wanted);
    if unpacked.len() == wanted { Ok(unpacked) } else { Err(damaged()) }
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
    Invalid::new("it begins like a zip archive and its table of contents is missing or broken", CUT)
}

fn damaged() -> Invalid {
    Invalid::new("it is a zip archive with an entry that is not what its table of contents says", CUT)
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

    use flate2::{Compress, Compression, FlushCompress};

    /// An archive of empty files with these names.
    pub(crate) fn archive(names: &[&str]) -> Vec<u8> {
        archive_of(&names.iter().map(|name| (*name, &b""[..])).collect::<Vec<_>>())
    }

    /// An archive of these files. What is code is packed, as PyTorch does it.
    pub(crate) fn archive_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut table = Vec::new();
        for (name, content) in files {
            let deflated = name.ends_with(".py").then(|| {
                // What does not get smaller gets a few bytes larger.
                let mut packed = Vec::with_capacity(content.len() + 64);
                let mut state = Compress::new(Compression::best(), false);
                state.compress_vec(content, &mut packed, FlushCompress::Finish).unwrap();
                packed
            });
            let packed = deflated.as_deref().unwrap_or(content);
            let method: u16 = if deflated.is_some() { 8 } else { 0 };
            let offset = bytes.len() as u32;
            // From the needed version on, as both headers have it.
            let mut facts = vec![20, 0, 0, 0];
            facts.extend_from_slice(&method.to_le_bytes());
            facts.extend_from_slice(&[0; 8]);
            facts.extend_from_slice(&(packed.len() as u32).to_le_bytes());
            facts.extend_from_slice(&(content.len() as u32).to_le_bytes());
            facts.extend_from_slice(&(name.len() as u16).to_le_bytes());
            facts.extend_from_slice(&[0; 2]);
            bytes.extend_from_slice(b"PK\x03\x04");
            bytes.extend_from_slice(&facts);
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(packed);
            table.extend_from_slice(b"PK\x01\x02\x14\0");
            table.extend_from_slice(&facts);
            table.extend_from_slice(&[0; 10]);
            table.extend_from_slice(&offset.to_le_bytes());
            table.extend_from_slice(name.as_bytes());
        }
        let start = bytes.len() as u32;
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(b"PK\x05\x06");
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&(files.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(table.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&start.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{
        write::{archive, archive_of},
        *,
    };

    fn refused(bytes: &[u8]) -> Invalid {
        Archive::of_torchscript(bytes).map(|_| ()).unwrap_err()
    }

    fn found(names: &[&str]) -> String {
        refused(&archive(names)).found
    }

    fn entry<'a>(archive: &'a Archive, name: &str) -> &'a Entry {
        archive.entries.iter().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn code_and_constants_make_torchscript() {
        let names = ["m/data.pkl", "m/constants.pkl", "m/code/__torch__.py", "m/version"];
        assert_eq!(Archive::of_torchscript(&archive(&names)[..]).unwrap().entries.len(), 4);
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
            let invalid = refused(&whole[..length]);
            assert!(invalid.advice.contains("cut short"), "{length}: {invalid}");
        }
    }

    #[test]
    fn a_table_that_claims_too_much_is_not_read() {
        let mut bytes = archive(&["a"]);
        let end = bytes.len() - END_RECORD;
        bytes[end + 12..end + 16].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
        assert!(refused(&bytes).advice.contains("at most"));
    }

    const CODE: &[u8] = &[b'a'; 200_000];

    fn packed() -> Vec<u8> {
        archive_of(&[("m/constants.pkl", b""), ("m/code/a.py", CODE), ("m/data/0", b"stored")])
    }

    #[test]
    fn of_an_entry_as_much_is_read_as_is_asked_for() {
        let bytes = packed();
        let archive = Archive::of_torchscript(&bytes[..]).unwrap();
        let code = entry(&archive, "m/code/a.py");
        assert_eq!(code.size, 200_000);
        assert_eq!(code.beginning(&bytes[..], 1_000).unwrap(), CODE[..1_000]);
        assert_eq!(code.beginning(&bytes[..], usize::MAX).unwrap(), CODE);
        assert_eq!(entry(&archive, "m/data/0").beginning(&bytes[..], 3).unwrap(), b"sto");
        assert_eq!(entry(&archive, "m/constants.pkl").beginning(&bytes[..], 3).unwrap(), b"");
    }

    #[test]
    fn an_entry_that_is_not_what_the_table_says_is_damaged() {
        let bytes = packed();
        let spoiled = |spoil: &dyn Fn(&mut Entry)| {
            let mut archive = Archive::of_torchscript(&bytes[..]).unwrap();
            let code = archive.entries.iter_mut().find(|entry| entry.name == "m/code/a.py").unwrap();
            spoil(code);
            code.beginning(&bytes[..], 1 << 20).unwrap_err().found
        };
        for found in [
            spoiled(&|code| code.size += 1),
            spoiled(&|code| code.packed = u64::MAX),
            spoiled(&|code| code.header += 1),
            spoiled(&|code| code.header = u64::MAX),
            spoiled(&|code| code.method = STORED),
        ] {
            assert!(found.contains("not what its table of contents says"), "{found}");
        }
        assert!(spoiled(&|code| code.method = 93).contains("packed in a way"));
    }

    #[test]
    fn numbers_beyond_32_bits_stand_in_the_extra_field() {
        let extra =
            [&[7, 0, 2, 0, 1, 1][..], &[1, 0, 16, 0], &5_000_000_000_u64.to_le_bytes(), &9_u64.to_le_bytes()].concat();
        let mut large = Large::of(&extra);
        assert_eq!(
            [large.or(u32::MAX), large.or(3), large.or(u32::MAX), large.or(u32::MAX)],
            [5_000_000_000, 3, 9, u64::from(u32::MAX)]
        );
        for cut in 0..extra.len() {
            Large::of(&extra[..cut]).or(u32::MAX);
        }
    }
}
