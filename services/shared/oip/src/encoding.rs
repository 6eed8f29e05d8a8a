//! A body that comes packed: gzip, deflate (zlib) or zstd. What it unpacks to is bounded like a body that comes as it is, so that
//! a small one that unpacks to a huge one costs no more than the bound.

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;
use std::io::{self, Read};

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which is what HTTP calls deflate.
    Deflate,
    /// RFC 8878.
    Zstd,
}

/// A body cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It unpacks to more than its limit.
    #[error("the body unpacks to more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// It is not what it says it is.
    #[error("the body is not {0:?}: {1}")]
    Malformed(Encoding, String),
}

impl Encoding {
    /// What a header `Content-Encoding` says; `Ok(None)` when the body comes as it is.
    ///
    /// # Errors
    /// The header, when it is none of these or several.
    pub fn of(header: Option<&[u8]>) -> Result<Option<Self>, String> {
        let Some(header) = header else { return Ok(None) };
        let word = String::from_utf8_lossy(header).trim().to_ascii_lowercase();
        match word.as_str() {
            "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            "zstd" => Ok(Some(Self::Zstd)),
            _ => Err(word.chars().take(80).collect()),
        }
    }

    /// Unpacks a body to at most `limit` bytes.
    ///
    /// # Errors
    /// [`UnpackError`].
    pub fn unpack(self, body: &[u8], limit: usize) -> Result<Bytes, UnpackError> {
        let malformed = |error: &dyn std::fmt::Display| UnpackError::Malformed(self, error.to_string());
        let unpacked = match self {
            Self::Gzip => bounded(MultiGzDecoder::new(body), body.len(), limit),
            Self::Deflate => bounded(ZlibDecoder::new(body), body.len(), limit),
            Self::Zstd => {
                let mut rest = body;
                let decoder = StreamingDecoder::new(&mut rest).map_err(|error| malformed(&error))?;
                // The window is memory that a frame asks for before a byte of it is read.
                if decoder.decoder.content_size() > limit as u64 {
                    return Err(UnpackError::TooLarge { limit });
                }
                bounded(decoder, body.len(), limit)
            }
        };
        match unpacked {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => Err(UnpackError::TooLarge { limit }),
            Err(error) => Err(malformed(&error)),
        }
    }
}

/// All that comes, or nothing if it is more than the limit.
fn bounded(reader: impl Read, packed: usize, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(packed.saturating_mul(2).min(limit));
    reader.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() <= limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write as _;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    fn packed(encoding: Encoding, body: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => compress_to_vec(body, CompressionLevel::Fastest),
        }
    }

    #[test]
    fn a_header_names_one_way_of_packing() {
        for (header, found) in [
            (None, Ok(None)),
            (Some("identity"), Ok(None)),
            (Some("GZIP"), Ok(Some(Encoding::Gzip))),
            (Some("deflate"), Ok(Some(Encoding::Deflate))),
            (Some("zstd"), Ok(Some(Encoding::Zstd))),
            (Some("br"), Err("br".to_owned())),
            (Some("gzip, gzip"), Err("gzip, gzip".to_owned())),
            (Some(""), Err(String::new())),
        ] {
            assert_eq!(Encoding::of(header.map(str::as_bytes)), found, "{header:?}");
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let zeros = vec![0; 8 << 20];
        for encoding in ALL {
            let bomb = packed(encoding, &zeros);
            assert!(bomb.len() < 64 << 10, "{encoding:?}: {}", bomb.len());
            assert_eq!(encoding.unpack(&bomb, 1 << 20), Err(UnpackError::TooLarge { limit: 1 << 20 }), "{encoding:?}");
            assert_eq!(encoding.unpack(&bomb, 8 << 20).unwrap().len(), 8 << 20);
        }
    }

    #[test]
    fn what_is_cut_off_or_no_packed_body_is_refused() {
        for encoding in ALL {
            let whole = packed(encoding, &(0..=255).cycle().take(5_000).collect::<Vec<u8>>());
            assert!(matches!(encoding.unpack(&whole[..whole.len() / 2], 10_000), Err(UnpackError::Malformed(..))));
            assert!(matches!(encoding.unpack(b"plain", 10_000), Err(UnpackError::Malformed(..))));
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_again(body in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            for encoding in ALL {
                prop_assert_eq!(&encoding.unpack(&packed(encoding, &body), 2_000).unwrap()[..], &body[..]);
            }
        }

        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in ALL {
                let _ = encoding.unpack(&body, 1_000);
            }
        }
    }
}
