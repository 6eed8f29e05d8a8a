//! Amounts as Kubernetes writes them (`1500m`, `4Gi`, `2e3`), in thousandths.

/// What may stand behind the number, and what it stands for, in thousandths.
const SUFFIXES: [(&str, i128); 13] = [
    ("Ki", 1_000 << 10),
    ("Mi", 1_000 << 20),
    ("Gi", 1_000 << 30),
    ("Ti", 1_000 << 40),
    ("Pi", 1_000 << 50),
    ("Ei", 1_000 << 60),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000),
];

/// The amount in thousandths, rounded up; `None` for what is no amount, or a negative one.
#[must_use]
pub fn thousandths(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 12 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (up, down) = match suffix {
        "" => (1_000, 1),
        "u" => (1, 1_000),
        "n" => (1, 1_000_000),
        _ => match suffix.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse::<i32>().ok()) {
            Some(exponent) if exponent >= 0 => (1_000 * power(exponent)?, 1),
            Some(exponent) => (1_000, power(-exponent)?),
            None => (SUFFIXES.iter().find(|(known, _)| *known == suffix)?.1, 1),
        },
    };
    let amount = digits.checked_mul(up)?;
    let below = scale.checked_mul(down)?;
    u64::try_from(amount / below + i128::from(amount % below > 0)).ok()
}

fn power(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?).filter(|power| *power <= 1_000_000_000_000_000_000_000)
}

/// The amount in whole units, rounded up.
#[must_use]
pub fn units(text: &str) -> Option<u64> {
    thousandths(text).map(|amount| amount.div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_every_spelling() {
        for (text, amount) in [
            ("0", 0),
            ("2", 2_000),
            ("1500m", 1_500),
            ("0.5", 500),
            (".5", 500),
            ("1.0005", 1_001),
            ("100u", 1),
            ("1k", 1_000_000),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_500 * (1 << 30)),
            ("128974848", 128_974_848_000),
            ("129e6", 129_000_000_000),
            ("129E6", 129_000_000_000),
            ("1e-3", 1),
            ("123Mi", 123 * 1_000 * (1 << 20)),
        ] {
            assert_eq!(thousandths(text), Some(amount), "{text}");
        }
        assert_eq!((units("1500m"), units("4Gi")), (Some(2), Some(4 << 30)));
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in ["", ".", "-1", "1x", "Gi", "1 Gi", "1e400", "9999999999999999999999Ei", "0.00000000000001"] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_fail(text in "[0-9.eEKMGTPmunki+-]{0,40}") {
            let _ = thousandths(&text);
        }
    }
}
