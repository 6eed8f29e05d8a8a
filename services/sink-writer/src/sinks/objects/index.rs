//! The keys of one object, kept beside it so that a writer that starts need not read the rows: a cache, never a truth. It names
//! the very object that it was made from, and one that is lost, torn or of another object is made anew.

use crate::domain::RowKey;
use sha2::{Digest as _, Sha256};

const KEY: usize = 16;

/// The keys of the object with this entity tag.
pub(super) fn write(e_tag: &str, keys: &[RowKey]) -> Vec<u8> {
    let mut content = Vec::with_capacity(e_tag.len() + 1 + (keys.len() + 1) * KEY);
    content.extend_from_slice(e_tag.as_bytes());
    content.push(b'\n');
    for RowKey(key) in keys {
        content.extend_from_slice(key);
    }
    let sum = checksum(&content);
    content.extend_from_slice(&sum);
    content
}

/// The keys, if this is an undamaged index of the object with this entity tag.
pub(super) fn read(content: &[u8], e_tag: &str) -> Option<Vec<RowKey>> {
    let (content, sum) = content.split_last_chunk::<KEY>()?;
    if checksum(content) != *sum {
        return None;
    }
    let keys = content.strip_prefix(e_tag.as_bytes())?.strip_prefix(b"\n")?;
    let (keys, rest) = keys.as_chunks::<KEY>();
    rest.is_empty().then(|| keys.iter().copied().map(RowKey).collect())
}

fn checksum(content: &[u8]) -> [u8; KEY] {
    let digest = Sha256::digest(content);
    std::array::from_fn(|n| digest[n])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_only_whole_and_for_its_own_object() {
        let keys = vec![RowKey::of("r1"), RowKey::of("r2")];
        let content = write("\"e1\"", &keys);
        assert_eq!(read(&content, "\"e1\""), Some(keys));
        assert_eq!(read(&content, "\"e2\""), None, "of another object");
        for cut in 0..content.len() {
            assert_eq!(read(&content[..cut], "\"e1\""), None, "cut at {cut}");
            let mut altered = content.clone();
            altered[cut] ^= 1;
            assert_eq!(read(&altered, "\"e1\""), None, "altered at {cut}");
        }
    }
}
