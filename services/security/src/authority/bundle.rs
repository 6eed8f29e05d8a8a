//! The text that says whom to trust: certificates one after the other, PEM.

const END: &str = "-----END CERTIFICATE-----";

/// Each certificate of a bundle, in one spelling.
pub(super) fn certificates(bundle: impl AsRef<str>) -> Vec<String> {
    bundle.as_ref().split_inclusive(END).filter(|part| part.ends_with(END)).map(normal).collect()
}

/// A certificate in the spelling in which it is published.
pub(super) fn normal(pem: &str) -> String {
    format!("{}\n", pem.replace("\r\n", "\n").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_taken_apart_and_put_together_again() {
        let one = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let two = "-----BEGIN CERTIFICATE-----\nBB==\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(format!("{one}{two}")), [one, two]);
        assert_eq!(certificates(format!("\r\n{one}\n{two}").replace('\n', "\r\n")), [one, two]);
        assert_eq!(certificates(&one[..40]), [] as [&str; 0]);
        assert_eq!(certificates(certificates(one).concat()), [one]);
    }
}
