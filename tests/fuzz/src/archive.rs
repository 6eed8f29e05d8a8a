//! A model of several files, as an archive of its folder.
//!
//! Holds: names lead to below a folder, each once; contents lie within, in memory in proportion; and what is accepted another reader of archives,
//! that of the crate `tar`, finds with the same names and contents.

use crate::memory::peak;
use slipway_kernel::bundle::{self, Bundled};
use std::{collections::BTreeMap, io::Read as _};

/// Runs one input.
pub fn run(data: &[u8]) {
    let (read, took) = peak(|| {
        bundle::read(data.len() as u64, |offset, buffer| {
            buffer.copy_from_slice(content(data, offset, buffer.len() as u64));
            Ok(())
        })
    });
    assert!(took <= 64 * data.len() + 64 * 1_024, "{took} bytes for an archive of {}", data.len());
    match read {
        Ok(files) => agree(data, &files),
        Err(refused) => assert!(refused.to_string().len() < 200, "{refused}"),
    }
}

fn agree(data: &[u8], files: &[Bundled]) {
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    for name in &names {
        assert!(name.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{name}");
    }
    let others = as_others_read(data);
    assert_eq!(others.len(), files.len(), "{others:?}");
    for file in files {
        let of_file = |(name, found): (&String, &Vec<u8>)| {
            (name == &file.name || name.ends_with(&format!("/{}", file.name)))
                && found == content(data, file.offset, file.size)
        };
        assert!(others.iter().any(of_file), "{} is not among {:?}", file.name, others.keys());
    }
}

/// The files of the archive, by their whole names.
fn as_others_read(data: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(data).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type() == tar::EntryType::Regular {
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let segments: Vec<&str> = name.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(segments.join("/"), content);
        }
    }
    files
}

fn content(data: &[u8], offset: u64, size: u64) -> &[u8] {
    let start = usize::try_from(offset).unwrap();
    &data[start..start + usize::try_from(size).unwrap()]
}
