//! Why reading a model stopped, while it is not said yet of which kind the file is.

use super::{
    Invalid,
    content::Content,
    wire::{Fault, Span, Wire},
};

/// Longest name of an input, output or operator, in bytes: names travel in a fact, which is small.
pub(super) const LONGEST_NAME: usize = 256;
/// What to do about a file that is broken.
pub(super) const CUT: &str = "the file seems to be cut short or damaged; fetch or export it again";

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is no protobuf, or not to its end.
    Fault(Fault),
    /// A name of so many bytes.
    LongName(u64),
    /// A name that a terminal or a log would obey.
    UnprintableName,
    /// Anything else, in words.
    Invalid(Invalid),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Invalid> for Broken {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl Broken {
    pub(super) fn new(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Invalid(Invalid::new(found, advice))
    }

    /// In words; `kind` is what the file is, with its article.
    pub(super) fn into_invalid(self, kind: &str) -> Invalid {
        match self {
            Self::Invalid(invalid) => invalid,
            Self::LongName(length) => Invalid::new(
                format!("it is {kind} with a name of {length} bytes"),
                format!("names up to {LONGEST_NAME} bytes are carried; export it again"),
            ),
            Self::UnprintableName => {
                Invalid::new(format!("it is {kind} with a name that is no printable text"), "export it again")
            }
            Self::Fault(Fault::Truncated { field, wanted, left }) => Invalid::new(
                format!("it is {kind} in which field {field} says {wanted} bytes and {left} are left"),
                CUT,
            ),
            Self::Fault(Fault::Malformed { at }) => Invalid::new(format!("it is {kind} broken at byte {at}"), CUT),
            Self::Fault(Fault::TooMany) => {
                Invalid::new(format!("it is {kind} with more fields than any model has"), "export it again")
            }
            Self::Fault(Fault::Unreadable(reason)) => unreadable(&reason),
        }
    }
}

/// The medium failed.
pub(super) fn unreadable(reason: &str) -> Invalid {
    Invalid::new(format!("it cannot be read: {reason}"), "see to the disk")
}

/// A name in protobuf.
pub(super) fn text<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<String, Broken> {
    let bytes = wire.bytes(span, LONGEST_NAME)?.ok_or_else(|| Broken::LongName(span.length()))?;
    printable(bytes).ok_or(Broken::UnprintableName)
}

/// The bytes as text, if there is nothing in it that a terminal or a log would obey.
pub(super) fn printable(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

const _: () = assert!(LONGEST_NAME <= 1_024, "names travel in facts");
