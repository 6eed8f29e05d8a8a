//! How numbers travel: protobuf's JSON mapping writes 64-bit integers as strings, because JSON readers round large numbers.

/// `u64` as a JSON string; reads a string or a number.
pub mod u64_string {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }

    /// Writes the number as a string.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads a string of digits or a number.
    ///
    /// # Errors
    /// If it is neither, or does not fit 64 bits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(number),
            Either::Text(text) => text.parse().map_err(|_| D::Error::custom("expected an unsigned 64-bit integer")),
        }
    }
}
