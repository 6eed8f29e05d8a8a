//! Files that are something else: recognised so that the refusal can say what, and what to do instead.

use super::Invalid;

const EXPORT: &str = "export the model to ONNX and name that file";
const PICKLE_ADVICE: &str = "loading a pickle runs whatever code is in it, so pickles are never loaded; export the model to ONNX, TorchScript or safetensors";

/// A pickle.
pub(super) fn pickle(what: &str) -> Invalid {
    Invalid::new(format!("it is {what}"), PICKLE_ADVICE)
}

/// Names by their first bytes what is no model that can be served.
pub(super) fn by_magic(head: &[u8]) -> Option<Invalid> {
    let begins = |magic: &[u8]| head.starts_with(magic);
    // PyTorch's format before the zip: a pickle of its magic number comes first.
    if begins(&[0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20]) {
        return Some(pickle("a PyTorch checkpoint of the old format, which is a pickle"));
    }
    if head.len() > 1 && head[0] == 0x80 && (1..=5).contains(&head[1]) {
        return Some(pickle(&format!("a Python pickle (protocol {})", head[1])));
    }
    let found = match head {
        _ if begins(b"\x89HDF\r\n\x1a\n") => "it is an HDF5 file (Keras saves such)",
        _ if head.get(4..8) == Some(b"TFL3") => "it is a TensorFlow Lite model",
        _ if begins(b"\x93NUMPY") => "it is a NumPy array",
        _ if begins(b"\x1f\x8b") => "it is a gzip archive",
        _ if begins(b"\xfd7zXZ\0") => "it is an xz archive",
        _ if begins(b"BZh") => "it is a bzip2 archive",
        _ if begins(b"\x28\xb5\x2f\xfd") => "it is a zstd archive",
        _ if begins(b"Rar!") => "it is a RAR archive",
        _ if begins(b"7z\xbc\xaf\x27\x1c") => "it is a 7z archive",
        _ if begins(b"\x7fELF") => "it is a program or library (ELF)",
        _ if begins(b"%PDF-") => "it is a PDF document",
        _ if begins(b"\x89PNG\r\n") || begins(b"\xff\xd8\xff") => "it is an image",
        _ if begins(b"SQLite format 3\0") => "it is an SQLite database",
        _ if begins(b"PAR1") => "it is a Parquet file",
        _ if begins(b"-----BEGIN ") => "it is a PEM file",
        _ if begins(b"version https://git-lfs.github.com/spec/") => {
            return Some(Invalid::new(
                "it is a Git LFS pointer, not the file it points to",
                "run `git lfs pull` where the artifact comes from",
            ));
        }
        _ => return None,
    };
    let advice = if found.contains("archive") {
        "unpack it and name the model file in it, or, of a SavedModel, make a plain tar archive of its folder"
    } else {
        EXPORT
    };
    Some(Invalid::new(found, advice))
}

/// Names by its looks what has no structure that is known. The text itself is not quoted: it may be anybody's.
pub(super) fn by_looks(head: &[u8]) -> Invalid {
    let text = head.iter().all(|byte| matches!(byte, 0x20..=0x7e | b'\n' | b'\r' | b'\t'));
    let trimmed = head.trim_ascii_start();
    let lower: Vec<u8> = trimmed.iter().take(16).map(u8::to_ascii_lowercase).collect();
    if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") {
        return Invalid::new(
            "it is an HTML page",
            "the address seems to show a page, perhaps a login or an error, instead of the file; give the address of the file itself",
        );
    }
    if lower.starts_with(b"<?xml") || lower.starts_with(b"<error") {
        return Invalid::new(
            "it is an XML document",
            "if the address is an object store's, this may be its error; give the address of the file itself",
        );
    }
    if text && trimmed.starts_with(b"{") {
        return Invalid::new("it is a JSON document", EXPORT);
    }
    if text {
        return Invalid::new("it is a text file", EXPORT);
    }
    // Protocol 0 and 1 of pickle have no magic; they begin with a mark, a global, or an empty container.
    if head.first().is_some_and(|first| b"(c]}".contains(first)) && head.contains(&b'\n') {
        return pickle("what looks like a Python pickle of an early protocol");
    }
    Invalid::new("it is no model of a known format", EXPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_instead_is_named() {
        for (head, word) in [
            (&b"\x80\x04\x95"[..], "pickle (protocol 4)"),
            (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20", "old format"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x7fELF\x02", "ELF"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ] {
            let invalid = by_magic(head).unwrap();
            assert!(invalid.found.contains(word), "{invalid}");
        }
        assert_eq!(by_magic(b"\x08\x08\x12\x07pytorch"), None);
        assert_eq!(by_magic(b""), None);
    }

    #[test]
    fn looks_are_named_and_never_quoted() {
        for (head, word) in [
            (&b"  <!DOCTYPE html><html>"[..], "HTML"),
            (b"<?xml version='1.0'?><Error>", "XML"),
            (b"{\"password\": 1}", "JSON"),
            (b"root:x:0:0:root", "text file"),
            (b"(dp0\n\xff", "pickle"),
            (b"\xde\xad\xbe\xef", "no model of a known format"),
        ] {
            let invalid = by_looks(head);
            assert!(invalid.found.contains(word), "{invalid}");
            assert!(!invalid.to_string().contains("root:") && !invalid.to_string().contains("password"), "{invalid}");
        }
    }
}
