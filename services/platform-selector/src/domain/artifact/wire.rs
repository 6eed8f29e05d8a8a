//! Protobuf on the wire, read in place. Submessages that nobody asks for are stepped over, so a model of gigabytes costs no
//! more to read than its structure; and a file can make this reader work only as long as its budget of fields lasts.

use super::content::Content;
use std::cell::Cell;

/// Fields read of one file. Structures of models have some millions (tree ensembles keep a number per field); what has
/// more was made to keep readers busy.
const FIELDS: u64 = 64_000_000;
/// Longest tag and varint together.
const HEADER: usize = 20;

/// Why a message cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A field says it is longer than what holds it.
    Truncated { field: u32, wanted: u64, left: u64 },
    /// Not protobuf, from here on.
    Malformed { at: u64 },
    /// More fields than any model has.
    TooMany,
    /// The medium failed.
    Unreadable(String),
}

/// One file of protobuf.
pub(super) struct Wire<'a, C: ?Sized> {
    content: &'a C,
    budget: Cell<u64>,
}

/// A part of the file, in bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Span {
    pub(super) const fn length(self) -> u64 {
        self.end - self.start
    }
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Varint(u64),
    Fixed,
    Bytes(Span),
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) value: Value,
}

/// The fields of one message, in the order of the file.
pub(super) struct Fields<'w, 'a, C: ?Sized> {
    wire: &'w Wire<'a, C>,
    at: u64,
    end: u64,
}

impl<'a, C: Content + ?Sized> Wire<'a, C> {
    pub(super) const fn new(content: &'a C) -> Self {
        Self { content, budget: Cell::new(FIELDS) }
    }

    /// The whole file as one message.
    pub(super) fn whole(&self) -> Span {
        Span { start: 0, end: self.content.size() }
    }

    /// The fields of the message in `span`.
    pub(super) const fn fields(&self, span: Span) -> Fields<'_, 'a, C> {
        Fields { wire: self, at: span.start, end: span.end }
    }

    /// The bytes in `span`, if there are at most `most`.
    pub(super) fn bytes(&self, span: Span, most: usize) -> Result<Option<Vec<u8>>, Fault> {
        let Some(length) = usize::try_from(span.length()).ok().filter(|length| *length <= most) else {
            return Ok(None);
        };
        let mut bytes = vec![0; length];
        self.content.read_at(span.start, &mut bytes).map_err(Fault::Unreadable)?;
        Ok(Some(bytes))
    }

    /// Calls `each` with every varint packed in `span`.
    pub(super) fn packed(&self, span: Span, mut each: impl FnMut(u64)) -> Result<(), Fault> {
        let mut at = span.start;
        while at < span.end {
            self.spend()?;
            let header = self.header(at, span.end)?;
            let (value, length) = varint(&header).ok_or(Fault::Malformed { at })?;
            each(value);
            at += length as u64;
        }
        Ok(())
    }

    fn spend(&self) -> Result<(), Fault> {
        let left = self.budget.get().checked_sub(1).ok_or(Fault::TooMany)?;
        self.budget.set(left);
        Ok(())
    }

    fn header(&self, at: u64, end: u64) -> Result<Header, Fault> {
        let left = end.saturating_sub(at).min(HEADER as u64);
        let length = usize::try_from(left).unwrap_or(HEADER);
        let mut header = Header { bytes: [0; HEADER], length };
        self.content.read_at(at, &mut header.bytes[..length]).map_err(Fault::Unreadable)?;
        Ok(header)
    }
}

struct Header {
    bytes: [u8; HEADER],
    length: usize,
}

impl std::ops::Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The varint at the beginning of `bytes` and its length.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().take(10).enumerate() {
        let part = u64::from(byte & 0x7f);
        if n == 9 && part > 1 {
            return None;
        }
        value |= part << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

impl<C: Content + ?Sized> Fields<'_, '_, C> {
    /// Where the next field begins.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// The next field; none at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<Field>, Fault> {
        if self.at >= self.end {
            return Ok(None);
        }
        self.wire.spend()?;
        let malformed = Fault::Malformed { at: self.at };
        let header = self.wire.header(self.at, self.end)?;
        let (tag, tag_length) = varint(&header).ok_or_else(|| malformed.clone())?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or_else(|| malformed.clone())?;
        let after_tag = self.at + tag_length as u64;
        let truncated = |wanted, from: u64| Fault::Truncated { field: number, wanted, left: self.end - from };
        let (value, next) = match tag & 7 {
            0 => {
                let rest = &header[tag_length..];
                let (value, length) = varint(rest).ok_or_else(|| malformed.clone())?;
                (Value::Varint(value), after_tag + length as u64)
            }
            wire_type @ (1 | 5) => {
                let length = if wire_type == 1 { 8 } else { 4 };
                if self.end - after_tag < length {
                    return Err(truncated(length, after_tag));
                }
                (Value::Fixed, after_tag + length)
            }
            2 => {
                let (length, length_length) = varint(&header[tag_length..]).ok_or_else(|| malformed.clone())?;
                let start = after_tag + length_length as u64;
                let end = start.checked_add(length).filter(|end| *end <= self.end);
                let end = end.ok_or_else(|| truncated(length, start))?;
                (Value::Bytes(Span { start, end }), end)
            }
            // Groups and what is no wire type: none of the formats read here has them.
            _ => return Err(malformed),
        };
        self.at = next;
        Ok(Some(Field { number, value }))
    }
}

#[cfg(test)]
pub(super) mod write {
    //! Writing of protobuf, for tests.

    pub(crate) fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    pub(crate) fn number(field: u32, value: u64) -> Vec<u8> {
        [varint(u64::from(field) << 3), varint(value)].concat()
    }

    pub(crate) fn bytes(field: u32, content: &[u8]) -> Vec<u8> {
        [varint(u64::from(field) << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        write::{bytes, number, varint},
        *,
    };

    fn all(message: &[u8]) -> Result<Vec<Field>, Fault> {
        let wire = Wire::new(message);
        let mut fields = wire.fields(wire.whole());
        let mut all = Vec::new();
        while let Some(field) = fields.next()? {
            all.push(field);
        }
        Ok(all)
    }

    #[test]
    fn fields_are_read_in_place() {
        let message = [number(1, 300), bytes(2, b"abc"), vec![0x1d, 1, 2, 3, 4], number(500, u64::MAX)].concat();
        let fields = all(&message).unwrap();
        assert_eq!(fields[0], Field { number: 1, value: Value::Varint(300) });
        assert_eq!(fields[1], Field { number: 2, value: Value::Bytes(Span { start: 5, end: 8 }) });
        assert_eq!(fields[2], Field { number: 3, value: Value::Fixed });
        assert_eq!(fields[3], Field { number: 500, value: Value::Varint(u64::MAX) });
    }

    #[test]
    fn a_field_longer_than_its_message_is_truncated() {
        let mut message = bytes(7, &[0; 100]);
        message.truncate(50);
        assert_eq!(all(&message), Err(Fault::Truncated { field: 7, wanted: 100, left: 48 }));
        let longest = [vec![0x3a], varint(u64::MAX)].concat();
        assert_eq!(all(&longest), Err(Fault::Truncated { field: 7, wanted: u64::MAX, left: 0 }));
        assert_eq!(all(&[0x1d, 1, 2]), Err(Fault::Truncated { field: 3, wanted: 4, left: 2 }));
    }

    #[test]
    fn what_is_no_protobuf_is_malformed() {
        for message in [&[0x00_u8][..], &[0x0b], &[0x0f], &[0x80; 12], &[0x08], &[0x08, 0xff]] {
            assert!(matches!(all(message), Err(Fault::Malformed { at: 0 })), "{message:?}");
        }
    }

    #[test]
    fn packed_numbers_are_read_to_the_end_of_their_field() {
        let content = [varint(1), varint(300), varint(7)].concat();
        let wire = Wire::new(&content[..]);
        let mut found = Vec::new();
        wire.packed(wire.whole(), |value| found.push(value)).unwrap();
        assert_eq!(found, [1, 300, 7]);
        assert!(wire.packed(Span { start: 0, end: 2 }, |_| ()).is_err());
    }

    #[test]
    fn a_budget_ends_what_has_no_end() {
        let wire = Wire { content: &[8_u8, 0, 8, 0, 8, 0][..], budget: Cell::new(2) };
        let mut fields = wire.fields(wire.whole());
        assert!(fields.next().is_ok() && fields.next().is_ok());
        assert_eq!(fields.next(), Err(Fault::TooMany));
    }
}
