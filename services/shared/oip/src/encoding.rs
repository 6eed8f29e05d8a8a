//! A body that comes packed: gzip, deflate (zlib) or zstd. What it unpacks to is bounded like a body that comes as it is, so that
//! a small one that unpacks to a huge one costs no more than the bound.

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::{
    FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
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
        let unpacked = match self {
            Self::Gzip => bounded(MultiGzDecoder::new(body), body.len(), limit).map_err(|error| error.to_string()),
            Self::Deflate => deflate(body, limit),
            Self::Zstd => zstd(body, limit),
        };
        match unpacked {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => Err(UnpackError::TooLarge { limit }),
            Err(reason) => Err(UnpackError::Malformed(self, reason)),
        }
    }
}

/// All that comes, or nothing if it is more than the limit.
type Unpacked<E> = Result<Option<Vec<u8>>, E>;

fn bounded(reader: impl Read, packed: usize, limit: usize) -> Unpacked<io::Error> {
    let mut bytes = Vec::with_capacity(packed.saturating_mul(2).min(limit));
    reader.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() <= limit))
}

fn deflate(body: &[u8], limit: usize) -> Unpacked<String> {
    let mut decoder = ZlibDecoder::new(body);
    let unpacked = bounded(&mut decoder, body.len(), limit).map_err(|error| error.to_string())?;
    match body.len() as u64 - decoder.total_in() {
        behind if behind > 0 && unpacked.is_some() => Err(format!("{behind} bytes behind its end")),
        _ => Ok(unpacked),
    }
}

/// One frame after the other, as RFC 8878 has them. One decoder for all: a body may be nothing but thousands of empty frames.
fn zstd(body: &[u8], limit: usize) -> Unpacked<String> {
    let mut decoder = FrameDecoder::new();
    let mut unpacked = Vec::with_capacity(body.len().saturating_mul(2).min(limit));
    let mut rest = body;
    loop {
        let left = limit - unpacked.len();
        let (head, behind) = narrowed(rest, left);
        let mut source = head[..rest.len().min(HEAD)].chain(behind);
        // Wider than it was made is only the window of a frame that is kept whole; it is as wide as its content.
        decoder.set_max_window_size(2 * window_for(left));
        match StreamingDecoder::new_with_decoder(&mut source, &mut decoder) {
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => return Ok(None),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let skipped = 8 + usize::try_from(length).unwrap_or(usize::MAX - 8);
                rest = rest.get(skipped..).ok_or("a skippable frame is cut off")?;
            }
            Err(error) => return Err(error.to_string()),
            Ok(frame) => {
                let says = frame.decoder.content_size();
                if says > left as u64 {
                    return Ok(None);
                }
                let came = frame.take(left as u64 + 1).read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
                if came > left {
                    return Ok(None);
                }
                if says != 0 && says != came as u64 {
                    return Err(format!("a frame of {came} bytes that says {says}"));
                }
                (_, rest) = source.into_inner();
            }
        }
        if rest.is_empty() {
            return Ok(Some(unpacked));
        }
    }
}

/// Bytes of a frame up to its window: the magic number, the descriptor, the window.
const HEAD: usize = 6;
/// What a frame with content begins with.
const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// The bit of the descriptor that says that there is no window.
const SINGLE_SEGMENT: u8 = 1 << 5;

/// The head of a frame, with a window no wider than `limit` needs, and what is behind the head. A decoder keeps a whole window
/// before it hands anything out, and a window can be said to be terabytes wide; but of a body within the limit, none looks back
/// further than the limit.
fn narrowed(frame: &[u8], limit: usize) -> ([u8; HEAD], &[u8]) {
    let (start, behind) = frame.split_at(frame.len().min(HEAD));
    let mut head = [0; HEAD];
    head[..start.len()].copy_from_slice(start);
    if head[..4] == MAGIC && head[4] & SINGLE_SEGMENT == 0 {
        // The larger the byte, the wider the window.
        let enough = (0..u8::MAX).find(|window| width(*window) >= window_for(limit)).unwrap_or(u8::MAX);
        head[5] = head[5].min(enough);
    }
    (head, behind)
}

/// The window that a body of `limit` bytes needs. No block is larger than 128 KiB or the window.
fn window_for(limit: usize) -> u64 {
    (limit as u64).max(128 << 10)
}

/// What a window's byte says, in bytes: a power of two, and eighths of it (RFC 8878, 3.1.1.1.2).
const fn width(window: u8) -> u64 {
    ((8 + (window & 7)) as u64) << (7 + (window >> 3))
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

    /// A frame of zstd: the byte that says its window, and blocks (type, size, content), the last of which ends it.
    fn frame(window: u8, blocks: &[(u32, usize, &[u8])]) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
        for (place, (kind, size, content)) in blocks.iter().enumerate() {
            let last = u32::from(place + 1 == blocks.len());
            let header = u32::try_from(*size).unwrap() << 3 | kind << 1 | last;
            frame.extend_from_slice(&header.to_le_bytes()[..3]);
            frame.extend_from_slice(content);
        }
        frame
    }

    const RAW: u32 = 0;
    const REPEATED: u32 = 1;
    const COMPRESSED: u32 = 2;
    const NO_TYPE: u32 = 3;

    #[test]
    fn a_window_as_wide_as_it_can_be_said_costs_no_more_than_the_limit() {
        // Who kept the whole window before handing anything out would come to the last block, which is none.
        let mut blocks = vec![(REPEATED, 128 << 10, &b"x"[..]); 64];
        blocks.push((NO_TYPE, 0, b""));
        let unpacked = Encoding::Zstd.unpack(&frame(0xf8, &blocks), 100_000);
        assert_eq!(unpacked, Err(UnpackError::TooLarge { limit: 100_000 }));
        // Small content in a wide window is no harm.
        let small = frame(0xf8, &[(RAW, 2, b"ab"), (REPEATED, 1_000, b"c")]);
        assert_eq!(Encoding::Zstd.unpack(&small, 1_002).unwrap().len(), 1_002);
    }

    #[test]
    fn a_block_that_grows_beyond_what_a_block_may_be_is_refused() {
        // Three tables of one symbol each (no literals, the last offset, 65,539 bytes and 16 bits more), then 2,000 sequences of
        // all ones: 4 KB of which 262 MB would come.
        let mut block = vec![8 << 3];
        block.extend_from_slice(b"abcdefgh");
        block.extend_from_slice(&[0x80 | 7, 0xd0, 0x54, 0, 0, 52]);
        block.extend_from_slice(&[0xff; 4_000]);
        block.push(1);
        let bomb = frame(0, &[(RAW, 8, b"abcdefgh"), (COMPRESSED, block.len(), &block)]);
        let unpacked = Encoding::Zstd.unpack(&bomb, 100_000);
        assert!(matches!(unpacked, Err(UnpackError::Malformed(..))), "{:?}", unpacked.map(|bytes| bytes.len()));
    }

    #[test]
    fn a_body_ends_where_it_is_packed_to_end() {
        for encoding in ALL {
            let mut body = packed(encoding, b"a body");
            body.push(0);
            assert!(matches!(encoding.unpack(&body, 100), Err(UnpackError::Malformed(..))), "{encoding:?}");
        }
    }

    #[test]
    fn parts_that_were_packed_apart_are_one_body() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let body = [packed(encoding, b"one "), packed(encoding, b""), packed(encoding, b"body")].concat();
            assert_eq!(encoding.unpack(&body, 8).unwrap(), "one body", "{encoding:?}");
            assert_eq!(encoding.unpack(&body, 7), Err(UnpackError::TooLarge { limit: 7 }), "{encoding:?}");
        }
        // Its second byte of length stands where a frame has its window.
        let skipped = [&[0x5f, 0x2a, 0x4d, 0x18, 0, 0xff, 0, 0][..], &[7; 0xff00]].concat();
        let body = [&skipped[..], &packed(Encoding::Zstd, b"body"), &skipped].concat();
        assert_eq!(Encoding::Zstd.unpack(&body, 8).unwrap(), "body");
        assert!(Encoding::Zstd.unpack(&body[..body.len() - 1], 8).is_err());
        assert!(Encoding::Zstd.unpack(b"", 8).is_err());
        // Frames without content cost next to nothing each.
        let empty = frame(0, &[(RAW, 0, b"")]).repeat(100_000);
        assert_eq!(Encoding::Zstd.unpack(&empty, 8).unwrap(), "");
    }

    #[test]
    fn a_frame_that_says_another_size_than_it_has_is_refused() {
        let sized = |size: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, size][..], &[17, 0, 0][..], b"ab"].concat();
        assert_eq!(Encoding::Zstd.unpack(&sized(2), 8).unwrap(), "ab");
        for size in [1, 3] {
            assert!(matches!(Encoding::Zstd.unpack(&sized(size), 8), Err(UnpackError::Malformed(..))), "{size}");
        }
        assert_eq!(Encoding::Zstd.unpack(&sized(9), 8), Err(UnpackError::TooLarge { limit: 8 }));
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
