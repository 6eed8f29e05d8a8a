//! An image is named by its digest: a tag may point elsewhere tomorrow.

use super::{Policy, Subject, Violation};

pub(super) const NAME: &str = "image-pinned";

pub(super) fn check(subject: &Subject<'_>, _: &Policy) -> Vec<Violation> {
    let Some(platform) = subject.platform.filter(|platform| !platform.image.is_empty()) else { return Vec::new() };
    if is_pinned(&platform.image) {
        return Vec::new();
    }
    vec![Violation::new(NAME, "platform-selected image", &platform.image, "<image>@sha256:<64 hexadecimal digits>")]
}

fn is_pinned(image: &str) -> bool {
    image
        .split_once("@sha256:")
        .is_some_and(|(name, digest)| !name.is_empty() && digest.parse::<slipway_kernel::Digest>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::found, *};
    use serde_json::json;

    #[test]
    fn a_tag_is_no_pin() {
        let digest = "a".repeat(64);
        for (image, pinned) in [
            (String::new(), true),
            (format!("registry/triton@sha256:{digest}"), true),
            (format!("registry/triton:24.05@sha256:{digest}"), true),
            ("registry/triton:latest".to_owned(), false),
            (format!("registry/triton@sha256:{}", &digest[1..]), false),
            (format!("@sha256:{digest}"), false),
        ] {
            let found = found(&json!({}), &Policy::default(), |_, _, platform| platform.image = image.clone());
            assert_eq!(found.is_empty(), pinned, "{image} {found:?}");
        }
    }
}
