//! A body that comes packed. The first byte of an input names the packing (`g`, `d`, `z`), the rest is the body.
//!
//! Holds: what comes out is no longer than the limit, and unpacking takes no more memory than the limit and what the algorithm
//! itself needs; the limit is exact; what other code unpacks is the same; a body with something behind it is refused. The same
//! bytes are also packed and must come back.

use crate::memory::peak;
use flate2::{
    Compression, Decompress, FlushDecompress, Status,
    write::{GzEncoder, ZlibEncoder},
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use slipway_oip::encoding::{Encoding, UnpackError};
use std::io::Write as _;

/// The limit of most calls: above what a few hundred bytes unpack to unless they are made for it.
const LIMIT: usize = 64 * 1_024;
/// What an algorithm takes however small the body is. The most is zstd's: two blocks of 128 KiB and its tables.
const BESIDES: usize = 1_024 * 1_024;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let encoding = match first {
        b'g' => Encoding::Gzip,
        b'd' => Encoding::Deflate,
        _ => Encoding::Zstd,
    };
    let (unpacked, took) = peak(|| encoding.unpack(body, LIMIT));
    assert!(took <= 4 * LIMIT + 2 * body.len() + BESIDES, "{took} bytes for a body of {}", body.len());
    match unpacked {
        Ok(unpacked) => {
            assert!(unpacked.len() <= LIMIT);
            assert_eq!(encoding.unpack(body, unpacked.len()).as_ref(), Ok(&unpacked), "at its own length as limit");
            if let Some(limit) = unpacked.len().checked_sub(1) {
                assert_eq!(encoding.unpack(body, limit), Err(UnpackError::TooLarge { limit }));
            }
            if encoding == Encoding::Deflate {
                assert!(inflated(body).is_none_or(|other| other == unpacked), "other code unpacks something else");
            }
            comes_back(encoding, &unpacked);
        }
        Err(UnpackError::TooLarge { limit }) => assert_eq!(limit, LIMIT),
        Err(malformed) => assert!(malformed.to_string().len() <= 400, "{malformed}"),
    }
    if body.len() <= LIMIT {
        comes_back(encoding, body);
    }
}

/// What the same library unpacks in one call, without a window. Only that way it refuses a distance from before the beginning; else it
/// takes zeros from there.
fn inflated(body: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(2 * LIMIT);
    let status = Decompress::new(true).decompress_vec(body, &mut unpacked, FlushDecompress::Finish);
    status.is_ok_and(|status| status == Status::StreamEnd).then_some(unpacked)
}

fn comes_back(encoding: Encoding, body: &[u8]) {
    let mut packed = match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Zstd => compress_to_vec(body, CompressionLevel::Fastest),
    };
    assert_eq!(encoding.unpack(&packed, LIMIT).unwrap(), body);
    assert!(encoding.unpack(&packed[..packed.len() - 1], LIMIT).is_err(), "cut short by a byte");
    packed.push(0);
    assert!(encoding.unpack(&packed, LIMIT).is_err(), "a byte behind the end");
}
