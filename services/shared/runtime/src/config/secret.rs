//! A text that must not be seen: it prints, logs and dumps as `***`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, de::Visitor};
use std::{fmt, io::Read, sync::Arc};

/// The name under which the configuration reader recognises a secret, so that a refused one is not quoted.
pub(super) const SECRET_TYPE: &str = "$slipway::Secret";

const SHOWN: &str = "***";

/// A secret file larger than this is a mistake (a key with its chain is below 16 KiB).
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A secret. Written in a configuration as itself, as `env:NAME` (an environment variable) or as `file:PATH` (a file,
/// without its last line end), which are read when the configuration is loaded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// A secret that is this text.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text. Whoever calls this takes care that it goes nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn resolve(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("env:") {
            return match std::env::var(name) {
                Ok(value) => Ok(Self::new(value)),
                Err(_) => Err(format!("env:NAME of a variable that is set; {name} is not")),
            };
        }
        if let Some(path) = text.strip_prefix("file:") {
            let mut content = String::new();
            return match std::fs::File::open(path)
                .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut content))
            {
                Ok(read) if read as u64 <= MAX_FILE_BYTES => Ok(Self::new(content.trim_end_matches(['\r', '\n']))),
                Ok(_) => Err(format!("file:PATH of a file of at most {MAX_FILE_BYTES} bytes; {path} is larger")),
                Err(error) => Err(format!("file:PATH of a readable text file; {path}: {error}")),
            };
        }
        Ok(Self::new(text))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { SHOWN })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted;

        impl<'de> Visitor<'de> for Wanted {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, env:NAME or file:PATH")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Secret, D::Error> {
                let text = String::deserialize(deserializer)?;
                Secret::resolve(&text).map_err(D::Error::custom)
            }
        }

        deserializer.deserialize_newtype_struct(SECRET_TYPE, Wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Secret, serde_json::Error> {
        serde_json::from_value(serde_json::Value::String(text.to_owned()))
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_secret_is_itself_or_a_variable_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "from a file\r\n").unwrap();
        assert_eq!(read("plain").unwrap().expose(), "plain");
        assert_eq!(read("env:PATH").unwrap().expose(), std::env::var("PATH").unwrap());
        assert_eq!(read(&format!("file:{}", file.display())).unwrap().expose(), "from a file");
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b'x'; 65 * 1024]).unwrap();
        assert!(read("env:SLIPWAY_NO_SUCH_VARIABLE").is_err());
        assert!(read("file:/no/such/file").is_err());
        assert!(read(&format!("file:{}", large.display())).is_err());
    }
}
