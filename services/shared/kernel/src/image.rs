//! Names of container images.

use crate::Digest;

/// What a name is that [`is_pinned`].
pub const PINNED: &str = "<image>@sha256:<64 hexadecimal digits>";

/// Whether an image is named by its digest, so that it is the same one tomorrow: a tag may be moved.
#[must_use]
pub fn is_pinned(image: &str) -> bool {
    let names = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
    image.split_once("@sha256:").is_some_and(|(name, digest)| names(name) && digest.parse::<Digest>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_no_pin() {
        let digest = "a".repeat(64);
        for (image, pinned) in [
            (format!("registry/triton@sha256:{digest}"), true),
            (format!("registry/triton:24.05@sha256:{digest}"), true),
            ("registry/triton:latest".to_owned(), false),
            (format!("registry/triton@sha256:{}", &digest[1..]), false),
            (format!("a b@sha256:{digest}"), false),
            (format!("@sha256:{digest}"), false),
            (String::new(), false),
        ] {
            assert_eq!(is_pinned(&image), pinned, "{image}");
        }
    }
}
