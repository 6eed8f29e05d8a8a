//! Addresses of what lies in the mesh's own store: `blob://<sha256>`, and behind it, for people, what it was called.

use crate::blob::Digest;

/// How such an address begins.
pub const BLOB: &str = "blob://";
/// What may follow it.
pub(super) const ALLOWED: &str =
    "blob:// and a sha256 of 64 lower-case hexadecimal digits, then / and a name or nothing";
/// Longest name that is kept of a file's.
const LONGEST_NAME: usize = 100;

/// The address of a blob. Of `name`, which is a file's, only what may stand in an address is kept.
#[must_use]
pub fn blob_uri(digest: &Digest, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let mut name: String = name.chars().map(plain).take(LONGEST_NAME).collect();
    // Two dots in a row lead elsewhere in other addresses, and are refused in all of them.
    while name.contains("..") {
        name = name.replace("..", ".");
    }
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { format!("{BLOB}{digest}") } else { format!("{BLOB}{digest}/{name}") }
}

/// The digest that an address names, if it is one of a blob.
#[must_use]
pub fn blob_digest(uri: &str) -> Option<Digest> {
    let rest = uri.strip_prefix(BLOB)?;
    let (digest, name) = rest.split_once('/').unwrap_or((rest, ""));
    if name.contains(['/', '?', '#']) { None } else { digest.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_digest_and_for_people_the_file() {
        let digest = Digest::of(b"model");
        for (name, told) in [
            ("digits-v1.onnx", "/digits-v1.onnx"),
            ("my model (2).onnx", "/my-model--2-.onnx"),
            ("a...b", "/a.b"),
            ("..", ""),
            ("", ""),
            ("modèle/é", "/mod-le"),
        ] {
            let uri = blob_uri(&digest, name);
            assert_eq!(uri, format!("blob://{digest}{told}"), "{name:?}");
            assert_eq!(blob_digest(&uri), Some(digest.clone()), "{uri}");
        }
    }

    #[test]
    fn what_names_no_digest_is_none() {
        let digest = Digest::of(b"model");
        for uri in [
            "blob://".to_owned(),
            "blob://abc".to_owned(),
            format!("blob://{}", digest.to_string().to_uppercase()),
            format!("blob://{digest}/a/b"),
            format!("blob://{digest}/a?x=1"),
            format!("file:///{digest}"),
        ] {
            assert_eq!(blob_digest(&uri), None, "{uri}");
        }
    }
}
