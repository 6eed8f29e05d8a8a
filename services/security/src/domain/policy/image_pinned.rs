//! An image is named by its digest: a tag may point elsewhere tomorrow.

use super::{Policy, Subject, Violation};
use slipway_kernel::image::{PINNED, is_pinned};

pub(super) const NAME: &str = "image-pinned";

pub(super) fn check(subject: &Subject<'_>, _: &Policy) -> Vec<Violation> {
    let Some(platform) = subject.platform.filter(|platform| !platform.image.is_empty()) else { return Vec::new() };
    if is_pinned(&platform.image) {
        return Vec::new();
    }
    vec![Violation::new(NAME, "platform-selected image", &platform.image, PINNED)]
}

#[cfg(test)]
mod tests {
    use super::{super::tests::found, *};
    use serde_json::json;

    #[test]
    fn a_tag_is_no_pin_and_no_image_needs_none() {
        let pinned = format!("registry/triton@sha256:{}", "a".repeat(64));
        for (image, allowed) in [("", true), (pinned.as_str(), true), ("registry/triton:latest", false)] {
            let found = found(&json!({}), &Policy::default(), |_, _, platform| platform.image = image.to_owned());
            assert_eq!(found.is_empty(), allowed, "{image} {found:?}");
        }
    }
}
