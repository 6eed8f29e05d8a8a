//! The codec of the gRPC services: prost's, for messages of a bounded number of fields.
//!
//! An empty tensor is two bytes on the wire and some three hundred in memory, so a message within any limit of bytes could be a
//! hundred and fifty times as much once it is decoded. Its fields are therefore counted before.

use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use bytes::Buf as _;

/// The most fields of a message, each element of a list counted, those of inner messages not: 256 tensors on either side with
/// their raw elements, 64 parameters, and room.
pub const MAX_FIELDS: usize = 1_024;

/// A message has too many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message has more than {MAX_FIELDS} fields: tensors, parameters and what else stands in it")]
pub struct TooManyFields;

/// Counts the fields of a message that is not decoded yet. What is no message is left to the decoder, which says what is wrong.
///
/// # Errors
/// [`TooManyFields`].
pub fn check_fields(mut message: &[u8]) -> Result<(), TooManyFields> {
    // Varints of keys and lengths are read by the same function: a key is the number of its field and, in three bits, its type.
    for _ in 0..MAX_FIELDS {
        let Ok(key) = prost::decode_length_delimiter(&mut message) else { return Ok(()) };
        let length = match key & 7 {
            0 => prost::decode_length_delimiter(&mut message).map(|_| 0),
            1 => Ok(8),
            2 => prost::decode_length_delimiter(&mut message),
            5 => Ok(4),
            // Groups have no length; what is in them counts as if it stood outside.
            _ => Ok(0),
        };
        let Some(rest) = length.ok().and_then(|length| message.get(length..)) else { return Ok(()) };
        message = rest;
    }
    if message.is_empty() { Ok(()) } else { Err(TooManyFields) }
}

/// What the generated clients and servers read and write with.
#[derive(Debug, Clone)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstCodec::<T, U>::default().decoder())
    }
}

/// What a client or server reads with.
#[derive(Debug, Clone)]
pub struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // One frame lies in one piece.
        check_fields(message.chunk()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.0.decode(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{ModelInferRequest, model_infer_request::InferInputTensor};
    use crate::oip::{Tensor, raw_request};
    use proptest::prelude::*;

    #[test]
    fn two_hundred_and_fifty_six_tensors_are_a_message_and_a_thousand_empty_ones_are_none() {
        let tensors = (0..256).map(|n| Tensor::from_f32(format!("x{n}"), vec![1, 2], &[0.5; 2]).unwrap());
        assert_eq!(check_fields(&raw_request("m", "1", tensors).encode_to_vec()), Ok(()));
        let inputs =
            |count| ModelInferRequest { inputs: vec![InferInputTensor::default(); count], ..Default::default() };
        assert_eq!(check_fields(&inputs(MAX_FIELDS).encode_to_vec()), Ok(()));
        assert_eq!(check_fields(&inputs(MAX_FIELDS + 1).encode_to_vec()), Err(TooManyFields));
    }

    #[test]
    fn fields_of_every_type_are_counted_unknown_ones_and_groups_too() {
        for field in [&[8, 0xff, 1][..], &[9, 0, 0, 0, 0, 0, 0, 0, 0], &[10, 1, 0], &[13, 0, 0, 0, 0], &[11], &[12]] {
            assert_eq!(check_fields(&field.repeat(MAX_FIELDS)), Ok(()), "{field:?}");
            assert_eq!(check_fields(&field.repeat(MAX_FIELDS + 1)), Err(TooManyFields), "{field:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_counted_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(check_fields(&bytes), Ok(()));
        }
    }
}
