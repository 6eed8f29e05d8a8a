//! Quantities of machines, written as Kubernetes writes them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr};

const CPU: &str = "whole cores (\"2\"), a decimal (\"0.5\") or thousandths (\"500m\")";
const BYTES: &str = "a whole number of bytes, alone or with Ki, Mi, Gi, Ti (for example \"512Mi\")";
const RATE: &str = "a whole number per unit: s, m or h (for example \"100/s\")";

/// Processor time in thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuMillis(pub u32);

impl FromStr for CpuMillis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || CPU.to_owned();
        if let Some(milli) = text.strip_suffix('m') {
            return milli.parse().map(Self).map_err(|_| refuse());
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 {
            return Err(refuse());
        }
        let whole: u32 = whole.parse().map_err(|_| refuse())?;
        let fraction: u32 = format!("{fraction:0<3}").parse().map_err(|_| refuse())?;
        whole.checked_mul(1_000).and_then(|w| w.checked_add(fraction)).map(Self).ok_or_else(refuse)
    }
}

impl fmt::Display for CpuMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1_000) { write!(f, "{}", self.0 / 1_000) } else { write!(f, "{}m", self.0) }
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` mebibytes.
    #[must_use]
    pub const fn mebibytes(n: u64) -> Self {
        Self(n << 20)
    }
}

const UNITS: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(suffix, size)| text.strip_suffix(suffix).map(|digits| (digits, *size)))
            .unwrap_or((text, 1));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BYTES.to_owned());
        }
        let number: u64 = digits.parse().map_err(|_| BYTES.to_owned())?;
        number.checked_mul(unit).map(Self).ok_or_else(|| BYTES.to_owned())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, size) in UNITS {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{suffix}", self.0 / size);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// How often something may happen or must be possible: a count per unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// Per how many seconds: 1, 60 or 3600.
    pub seconds: u32,
}

impl Rate {
    /// The rate per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / f64::from(self.seconds)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || RATE.to_owned();
        let (count, unit) = text.split_once('/').ok_or_else(refuse)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return Err(refuse()),
        };
        if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        Ok(Self { count: count.parse().map_err(|_| refuse())?, seconds })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.seconds {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

macro_rules! text_quantity {
    ($name:ident, $allowed:ident, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|allowed| D::Error::custom(format!("`{text}`: expected {allowed}")))
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $allowed })
            }
        }
    };
}

text_quantity!(CpuMillis, CPU, "^([0-9]+m|[0-9]+([.][0-9]{1,3})?)$");
text_quantity!(ByteSize, BYTES, "^[0-9]+(Ki|Mi|Gi|Ti)?$");
text_quantity!(Rate, RATE, "^[0-9]+/(s|m|h)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_they_were_read() {
        for text in ["1", "500m", "16"] {
            assert_eq!(text.parse::<CpuMillis>().unwrap().to_string(), text);
        }
        assert_eq!("0.25".parse::<CpuMillis>().unwrap(), CpuMillis(250));
        for text in ["512Mi", "3Gi", "1000", "0"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["100/s", "5/m", "1/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "m", "1.2345", "-1", "1e3", "99999999999", "1,5"] {
            assert!(text.parse::<CpuMillis>().is_err(), "{text}");
        }
        for text in ["", "Mi", "1.5Gi", "-1", "1MB", "99999999999999999999", "18446744073709551615Ki"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in ["", "100", "/s", "100/d", "-1/s", "1.5/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
