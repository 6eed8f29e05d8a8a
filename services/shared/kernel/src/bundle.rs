//! A model of several files as one file, which a digest can name: a plain tar archive of regular files and folders.
//!
//! It is read where it lies and never unpacked by name alone: who unpacks it joins names that [`read`] has held to be below a folder.
//! What an archive may carry besides (links, devices, names in extensions of one program or another) no model needs, and it is refused.

use std::collections::{BTreeMap, BTreeSet};
use tar::{EntryType, Header, PaxExtensions};

/// Bytes of a header, and what the content of a file is filled up to.
pub const BLOCK: usize = 512;
/// Entries of an archive: models of the largest kind have some hundred files.
pub const MOST_ENTRIES: usize = 4_096;
/// Bytes of a name: what the format has room for.
pub const LONGEST_NAME: usize = 255;
/// Bytes of the attributes of an entry, of which none is of use here.
const LONGEST_EXTENSION: u64 = 64 << 10;
/// Where the magic of the format stands in a header, and its checksum.
const MAGIC: std::ops::Range<usize> = 257..262;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// What makes an archive that is read.
pub const COMMAND: &str = "tar --format=ustar -C FOLDER -cf FILE.tar .";

/// A file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundled {
    /// Its path: segments divided by `/`, none of which leads up.
    pub name: String,
    /// Where its content begins in the archive, in bytes.
    pub offset: u64,
    /// How long that is, in bytes.
    pub size: u64,
}

/// Why an archive is none that is read. Nothing of it is quoted: it may be anybody's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An entry, counted from 1, and what is wrong with it.
    #[error("entry {entry} of it {why}")]
    Entry {
        /// Which.
        entry: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// It ends where more is to come.
    #[error("it is cut short after {entries} entries")]
    Cut {
        /// How many are whole.
        entries: usize,
    },
    /// The medium failed.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// Whether a file that begins so is an archive.
#[must_use]
pub fn begins(head: &[u8]) -> bool {
    head.get(MAGIC) == Some(b"ustar")
}

/// The files of an archive of `size` bytes, by name. A folder that all of them lie in is left out of their names.
///
/// `read_at` fills a buffer from an offset, within the archive.
///
/// # Errors
/// [`BundleError`], at the first entry that is none of a model's.
pub fn read(size: u64, read_at: impl Fn(u64, &mut [u8]) -> Result<(), String>) -> Result<Vec<Bundled>, BundleError> {
    let mut found = Found::default();
    // Whether attributes came of an entry that is to follow.
    let mut is_awaited = false;
    let mut at = 0_u64;
    for entries in 0.. {
        let Some(content) = at.checked_add(BLOCK as u64).filter(|end| *end <= size) else {
            return Err(BundleError::Cut { entries });
        };
        let mut block = [0; BLOCK];
        read_at(at, &mut block).map_err(BundleError::Unreadable)?;
        let wrong = |why| BundleError::Entry { entry: entries + 1, why };
        if block == [0; BLOCK] {
            if is_awaited {
                return Err(wrong("is missing, and its attributes are there"));
            }
            break;
        }
        if entries == MOST_ENTRIES {
            return Err(wrong("is one more than any model has (4096)"));
        }
        let header = Header::from_byte_slice(&block);
        if header.cksum().ok() != Some(checksum(&block)) {
            return Err(wrong("is damaged: its header does not add up"));
        }
        let length = header.entry_size().map_err(|_| wrong("has no size"))?;
        let end = content.checked_add(length).filter(|end| *end <= size).ok_or(BundleError::Cut { entries })?;
        match header.entry_type() {
            EntryType::Regular => {
                found.file(&header.path_bytes(), content, length).map_err(wrong)?;
                is_awaited = false;
            }
            EntryType::Directory => {
                found.folder(&header.path_bytes()).map_err(wrong)?;
                is_awaited = false;
            }
            EntryType::XHeader | EntryType::XGlobalHeader => {
                if length > LONGEST_EXTENSION {
                    return Err(wrong("has attributes without end"));
                }
                let mut attributes = vec![0; usize::try_from(length).unwrap_or(0)];
                read_at(content, &mut attributes).map_err(BundleError::Unreadable)?;
                are_no_ones_business(&attributes).map_err(wrong)?;
                if header.entry_type() == EntryType::XHeader && std::mem::replace(&mut is_awaited, true) {
                    return Err(wrong("has attributes twice"));
                }
            }
            EntryType::GNULongName => return Err(wrong("has a name longer than 255 bytes")),
            _ => return Err(wrong("is neither a file nor a folder")),
        }
        at = end.checked_next_multiple_of(BLOCK as u64).ok_or(BundleError::Cut { entries })?;
    }
    Ok(found.files())
}

/// The sum of a header's bytes, in which its own place counts as blanks.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let own: u32 = block[CHECKSUM].iter().map(|byte| u32::from(*byte)).sum();
    let all: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    all - own + CHECKSUM.len() as u32 * u32::from(b' ')
}

/// Attributes tell times and owners. One that says where the next file is, or how long, would have this be read otherwise than others read it.
fn are_no_ones_business(attributes: &[u8]) -> Result<(), &'static str> {
    for attribute in PaxExtensions::new(attributes) {
        let attribute = attribute.map_err(|_| "has attributes that cannot be read")?;
        let key = attribute.key_bytes();
        if matches!(key, b"path" | b"linkpath" | b"size" | b"hdrcharset") || key.starts_with(b"GNU.sparse") {
            return Err("keeps its name or size in an extension");
        }
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    files: BTreeMap<String, (u64, u64)>,
    folders: BTreeSet<String>,
}

impl Found {
    fn file(&mut self, name: &[u8], offset: u64, size: u64) -> Result<(), &'static str> {
        let name = inside(name)?.ok_or("is a file without a name")?;
        if self.folders.contains(&name) {
            return Err("is a file in the place of a folder");
        }
        self.lies_in_folders(&name)?;
        if self.files.insert(name, (offset, size)).is_some() {
            return Err("has the name of another one");
        }
        Ok(())
    }

    fn folder(&mut self, name: &[u8]) -> Result<(), &'static str> {
        let Some(name) = inside(name)? else { return Ok(()) };
        self.lies_in_folders(&name)?;
        if self.files.contains_key(&name) {
            return Err("is a folder in the place of a file");
        }
        self.folders.insert(name);
        Ok(())
    }

    /// What leads to it is no file.
    fn lies_in_folders(&mut self, name: &str) -> Result<(), &'static str> {
        for (end, _) in name.match_indices('/') {
            let folder = &name[..end];
            if self.files.contains_key(folder) {
                return Err("lies in a file");
            }
            self.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn files(self) -> Vec<Bundled> {
        let top = self.files.keys().next().and_then(|name| Some(format!("{}/", name.split_once('/')?.0)));
        let top = top.filter(|top| self.files.keys().all(|name| name.starts_with(top))).map_or(0, |top| top.len());
        let file =
            |(name, (offset, size)): (String, (u64, u64))| Bundled { name: name[top..].to_owned(), offset, size };
        self.files.into_iter().map(file).collect()
    }
}

/// A name as a path below the folder where the archive is unpacked; `None` for that folder itself.
fn inside(name: &[u8]) -> Result<Option<String>, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "has a name that is no text")?;
    if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err("has a name that is no printable text of up to 255 bytes");
    }
    if name.starts_with('/') {
        return Err("has a name that leads out of the folder");
    }
    let segments: Vec<&str> = name.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    if segments.contains(&"..") {
        return Err("has a name that leads out of the folder");
    }
    Ok((!segments.is_empty()).then(|| segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tar::Builder;

    fn entry(kind: EntryType, name: &[u8], content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        let mut bytes = [header.as_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn file(name: &str, content: &[u8]) -> Vec<u8> {
        entry(EntryType::Regular, name.as_bytes(), content)
    }

    fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
        [entries.concat(), vec![0; 2 * BLOCK]].concat()
    }

    fn of(bytes: &[u8]) -> Result<Vec<Bundled>, BundleError> {
        read(bytes.len() as u64, |offset, buffer| {
            let start = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
            Ok(())
        })
    }

    fn told(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let place = |file: Bundled| {
            let start = usize::try_from(file.offset).unwrap();
            (file.name, bytes[start..start + usize::try_from(file.size).unwrap()].to_vec())
        };
        of(bytes).unwrap().into_iter().map(place).collect()
    }

    #[test]
    fn files_are_found_where_they_lie_and_named_below_the_folder_that_holds_all() {
        let bytes = archive(&[
            entry(EntryType::Directory, b"./", b""),
            entry(EntryType::XHeader, b"./PaxHeaders/b", b"20 mtime=1700000.25\n"),
            file("./b", b"second"),
            entry(EntryType::Directory, b"./a/", b""),
            file("./a/deep", &[7; 700]),
        ]);
        assert!(begins(&bytes));
        assert_eq!(told(&bytes), [("a/deep".to_owned(), vec![7; 700]), ("b".to_owned(), b"second".to_vec())]);
        let bytes = archive(&[file("model/a/x", b"1"), file("model/y", b"")]);
        assert_eq!(told(&bytes), [("a/x".to_owned(), b"1".to_vec()), ("y".to_owned(), Vec::new())]);
        assert_eq!(told(&archive(&[file("model", b"1")])), [("model".to_owned(), b"1".to_vec())]);
        assert_eq!(told(&archive(&[])), []);
    }

    #[test]
    fn what_the_library_writes_is_read() {
        let mut builder = Builder::new(Vec::new());
        for (name, content) in [("m/one", &b"1"[..]), ("m/two/three", &[3; 512])] {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        assert_eq!(told(&bytes), [("one".to_owned(), b"1".to_vec()), ("two/three".to_owned(), vec![3; 512])]);
    }

    #[test]
    fn what_is_no_file_or_folder_of_a_model_is_refused_by_its_place() {
        let mut damaged = file("a", b"1");
        damaged[0] = b'b';
        let long = entry(EntryType::XHeader, b"x", &vec![b'x'; 65 << 10]);
        let attributes = || entry(EntryType::XHeader, b"x", b"11 uid=123\n");
        for (entries, why) in [
            (vec![file("a", b"1"), file("../b", b"")], "entry 2 of it has a name that leads out"),
            (vec![file("/etc/passwd", b"")], "leads out"),
            (vec![file("a/../../b", b"")], "leads out"),
            (vec![file("a\x1b[2J", b"")], "no printable text"),
            (vec![entry(EntryType::Regular, b"\xff", b"")], "no text"),
            (vec![entry(EntryType::Symlink, b"a", b"")], "neither a file nor a folder"),
            (vec![entry(EntryType::Link, b"a", b"")], "neither a file nor a folder"),
            (vec![entry(EntryType::Char, b"a", b"")], "neither a file nor a folder"),
            (vec![entry(EntryType::GNULongName, b"././@LongLink", &[b'a'; 300])], "longer than 255"),
            (vec![entry(EntryType::XHeader, b"x", b"13 path=../b\n"), file("a", b"")], "in an extension"),
            (vec![entry(EntryType::XGlobalHeader, b"x", b"9 size=9\n")], "in an extension"),
            (vec![entry(EntryType::XHeader, b"x", b"no attribute")], "cannot be read"),
            (vec![attributes(), attributes(), file("a", b"")], "entry 2 of it has attributes twice"),
            (vec![file("a", b""), attributes()], "entry 3 of it is missing"),
            (vec![long], "without end"),
            (vec![damaged], "does not add up"),
            (vec![file("a", b"1"), file("./a", b"2")], "the name of another"),
            (vec![file("a", b"1"), file("a/b", b"2")], "lies in a file"),
            (vec![file("a/b", b"1"), file("a", b"2")], "in the place of a folder"),
            (vec![file("a", b"1"), entry(EntryType::Directory, b"a/", b"")], "in the place of a file"),
            (vec![file("./", b"")], "without a name"),
        ] {
            let error = of(&archive(&entries)).unwrap_err().to_string();
            assert!(error.contains(why), "{error} is not about `{why}`");
        }
        let many: Vec<Vec<u8>> = (0..=MOST_ENTRIES).map(|number| file(&number.to_string(), b"")).collect();
        assert!(of(&archive(&many)).unwrap_err().to_string().contains("one more than any model has"));
        assert_eq!(of(&archive(&many[1..])).unwrap().len(), MOST_ENTRIES);
    }

    #[test]
    fn an_archive_cut_anywhere_is_never_taken_for_whole() {
        let bytes = archive(&[file("a", &[1; 600]), file("b", b"2")]);
        let whole = of(&bytes).unwrap();
        for length in 0..bytes.len() - BLOCK {
            assert!(matches!(of(&bytes[..length]), Err(BundleError::Cut { .. })), "{length}");
        }
        assert_eq!(of(&bytes[..bytes.len() - BLOCK]).unwrap(), whole);
        let mut lies = entry(EntryType::Regular, b"a", b"1");
        let header: &mut [u8; BLOCK] = lies.first_chunk_mut().unwrap();
        let mut altered = Header::from_byte_slice(header).clone();
        altered.set_size(u64::MAX);
        altered.set_cksum();
        header.copy_from_slice(altered.as_bytes());
        assert_eq!(of(&archive(&[lies])), Err(BundleError::Cut { entries: 0 }));
        let failed = read(9_999, |_, _| Err("the disk is gone".to_owned()));
        assert_eq!(failed.unwrap_err().to_string(), "it cannot be read: the disk is gone");
    }

    proptest! {
        /// Whatever the bytes, names lead nowhere else and contents lie within.
        #[test]
        fn nothing_leads_out(mut bytes in proptest::collection::vec(any::<u8>(), 4 * BLOCK), honest in any::<bool>()) {
            if honest {
                let block: &mut [u8; BLOCK] = bytes.first_chunk_mut().unwrap();
                let mut header = Header::from_byte_slice(block).clone();
                header.set_entry_type(EntryType::Regular);
                header.set_size(100);
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
                bytes[2 * BLOCK..].fill(0);
            }
            for file in of(&bytes).unwrap_or_default() {
                prop_assert!(file.name.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{}", file.name);
                prop_assert!(file.offset + file.size <= bytes.len() as u64);
            }
        }
    }
}
