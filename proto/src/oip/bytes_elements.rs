//! The raw form of BYTES: each element preceded by its length in four bytes, little-endian.

use super::Problem;

/// Walks the elements of a raw BYTES tensor. Ends after the first error.
#[derive(Debug, Clone)]
pub struct BytesElements<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> BytesElements<'a> {
    /// Starts at the first element of `raw`.
    #[must_use]
    pub const fn new(raw: &'a [u8]) -> Self {
        Self { rest: raw, offset: 0 }
    }

    /// How many bytes have been walked over, prefixes included.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    fn fail(&mut self) -> Option<Result<&'a [u8], Problem>> {
        self.rest = &[];
        Some(Err(Problem::CutOff { offset: self.offset }))
    }
}

impl<'a> Iterator for BytesElements<'a> {
    type Item = Result<&'a [u8], Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((prefix, rest)) = self.rest.split_first_chunk::<4>() else {
            return self.fail();
        };
        // A length that does not fit the address space cannot be there either.
        let length = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
        let Some((element, rest)) = rest.split_at_checked(length) else {
            return self.fail();
        };
        self.offset += 4 + length;
        self.rest = rest;
        Some(Ok(element))
    }
}

/// The raw form of these elements.
///
/// # Errors
/// [`Problem::ElementTooLong`] when one is longer than its four-byte prefix can say.
pub fn join_bytes_elements<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Problem> {
    let mut raw = Vec::new();
    for (index, element) in elements.into_iter().enumerate() {
        let length = u32::try_from(element.len()).map_err(|_| Problem::ElementTooLong { index })?;
        raw.extend_from_slice(&length.to_le_bytes());
        raw.extend_from_slice(element);
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_that_points_past_the_end_is_refused_where_it_stands() {
        let raw = [1, 0, 0, 0, b'a', 0xff, 0xff, 0xff, 0xff, b'b'];
        let mut elements = BytesElements::new(&raw);
        assert_eq!(elements.next(), Some(Ok(&b"a"[..])));
        assert_eq!(elements.next(), Some(Err(Problem::CutOff { offset: 5 })));
        assert_eq!(elements.next(), None);
    }

    #[test]
    fn a_prefix_cut_short_is_refused() {
        assert_eq!(BytesElements::new(&[1, 0]).next(), Some(Err(Problem::CutOff { offset: 0 })));
    }

    proptest! {
        #[test]
        fn elements_survive_joining(elements in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20)) {
            let raw = join_bytes_elements(elements.iter().map(Vec::as_slice)).unwrap();
            let found: Vec<_> = BytesElements::new(&raw).map(|element| element.unwrap().to_vec()).collect();
            prop_assert_eq!(found, elements);
        }

        #[test]
        fn any_bytes_are_walked_to_their_end_or_refused(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut elements = BytesElements::new(&raw);
            let ok = elements.by_ref().all(|element| element.is_ok());
            prop_assert!(elements.offset() <= raw.len());
            prop_assert_eq!(ok, elements.offset() == raw.len());
        }
    }
}
