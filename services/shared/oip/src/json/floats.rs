//! Numbers with a fraction, where they stand one after another.

/// A number with a fraction, as it stands in JSON.
pub(super) trait Float {
    /// Its bytes, little-endian.
    type Bytes: AsRef<[u8]>;

    /// The number that `text` begins with, rounded once and correctly, and its length; none if it is not finite.
    fn read(text: &[u8]) -> Option<(Self::Bytes, usize)>;
}

macro_rules! float {
    ($type:ty, $powers:expr) => {
        impl Float for $type {
            type Bytes = [u8; size_of::<$type>()];

            fn read(text: &[u8]) -> Option<(Self::Bytes, usize)> {
                /// Powers of ten that the type has exactly.
                const POWERS: &[$type] = &$powers;
                const MOST: u64 = 1 << <$type>::MANTISSA_DIGITS;
                if let Some(Short { negative, digits, decimals, length }) = Short::read(text)
                    && digits <= MOST
                    && let Some(power) = POWERS.get(decimals)
                {
                    // Both are exact, so their quotient is rounded once (Clinger, How to Read Floating Point Numbers Accurately, 1990).
                    let value = digits as $type / power;
                    return Some((if negative { -value } else { value }.to_le_bytes(), length));
                }
                let (value, length) = fast_float2::parse_partial::<$type, _>(text).ok()?;
                value.is_finite().then(|| (value.to_le_bytes(), length))
            }
        }
    };
}

float!(f32, [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10]);
float!(
    f64,
    [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22
    ]
);

/// A number without an exponent and with few digits, as most are: its digits, and how many of them are decimals. It is read in half the time
/// that the general reader takes, which is most of what a request of JSON costs.
struct Short {
    negative: bool,
    digits: u64,
    decimals: usize,
    length: usize,
}

impl Short {
    /// So many digits fit into 64 bits.
    const MOST_DIGITS: usize = 19;

    fn read(text: &[u8]) -> Option<Self> {
        let negative = text.first() == Some(&b'-');
        let (mut digits, mut point, mut at) = (0_u64, None, usize::from(negative));
        let end = at + Self::MOST_DIGITS;
        loop {
            match text.get(at) {
                Some(digit @ b'0'..=b'9') if at < end => digits = digits * 10 + u64::from(digit - b'0'),
                Some(b'.') if point.is_none() => point = Some(at),
                Some(b'0'..=b'9' | b'.' | b'e' | b'E') => return None,
                _ => break,
            }
            at += 1;
        }
        Some(Self { negative, digits, decimals: point.map_or(0, |point| at - point - 1), length: at })
    }
}

/// Whether a number can begin with it. The readers of numbers alone would also take `inf` and `NaN`.
pub(super) const fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::super::data::{BytesAs, read};
    use proptest::prelude::*;
    use slipway_proto::oip::DataType;

    proptest! {
        #[test]
        fn every_number_is_what_the_standard_library_reads(
            values in proptest::collection::vec((any::<f64>(), -30.0_f64..30.0, any::<i32>(), 0_usize..6), 1..40),
        ) {
            let text = |(any, near, whole, style): &(f64, f64, i32, usize)| match style {
                0 if any.is_finite() => format!("{any:e}"),
                1 if any.is_finite() => format!("{any}"),
                2 => format!("{near:.3}"),
                3 => format!("{near}E-12"),
                _ => whole.to_string(),
            };
            let texts: Vec<String> = values.iter().map(text).collect();
            let document = format!("[{}]", texts.join(",\n "));
            let read = |data_type| read("d", &document, data_type, &[texts.len()], texts.len(), BytesAs::Text);
            let doubles: Vec<u8> = texts.iter().flat_map(|text| text.parse::<f64>().unwrap().to_le_bytes()).collect();
            prop_assert_eq!(read(DataType::Fp64).unwrap(), doubles);
            let singles: Vec<f32> = texts.iter().map(|text| text.parse().unwrap()).collect();
            match singles.iter().position(|single| single.is_infinite()) {
                None => {
                    let singles: Vec<u8> = singles.iter().flat_map(|single| single.to_le_bytes()).collect();
                    prop_assert_eq!(read(DataType::Fp32).unwrap(), singles);
                }
                Some(first) => prop_assert_eq!(read(DataType::Fp32).unwrap_err().path, format!("d[{first}]")),
            }
        }
    }
}
