//! The bytes of an artifact, wherever they lie. A model may be larger than what this service wants to hold, so readers ask
//! for the few bytes they look at.

/// Bytes that can be read at any place.
pub trait Content {
    /// How many there are.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on. Callers stay within [`Content::size`].
    ///
    /// # Errors
    /// What the medium says, when the bytes cannot be had.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), String>;
}

impl Content for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
        let slice = usize::try_from(offset).ok().and_then(|start| self.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(slice.ok_or("read beyond the end")?);
        Ok(())
    }
}

/// A part of other content.
pub(super) struct Part<'a, C: ?Sized> {
    /// The whole.
    pub(super) content: &'a C,
    /// Where the part begins in it.
    pub(super) offset: u64,
    /// How long it is.
    pub(super) size: u64,
}

impl<C: Content + ?Sized> Content for Part<'_, C> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err("read beyond the end".to_owned());
        }
        self.content.read_at(self.offset + offset, buffer)
    }
}

/// Up to `most` bytes from `offset` on, fewer at the end.
///
/// # Errors
/// As [`Content::read_at`].
pub(super) fn window<C: Content + ?Sized>(content: &C, offset: u64, most: usize) -> Result<Vec<u8>, String> {
    let offset = offset.min(content.size());
    let left = content.size() - offset;
    let length = usize::try_from(left).map_or(most, |left| left.min(most));
    let mut bytes = vec![0; length];
    content.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_the_content_ends() {
        let content: &[u8] = b"abcdef";
        assert_eq!(window(content, 4, 10).unwrap(), b"ef");
        assert_eq!(window(content, 9, 10).unwrap(), b"");
        assert!(content.read_at(5, &mut [0; 2]).is_err());
        assert!(content.read_at(u64::MAX, &mut [0; 2]).is_err());
    }

    #[test]
    fn a_part_is_read_as_if_it_were_all_there_is() {
        let part = Part { content: &b"abcdef"[..], offset: 2, size: 3 };
        assert_eq!(window(&part, 0, 10).unwrap(), b"cde");
        assert_eq!(window(&part, 2, 10).unwrap(), b"e");
        assert!(part.read_at(2, &mut [0; 2]).is_err() && part.read_at(u64::MAX, &mut [0; 2]).is_err());
    }
}
