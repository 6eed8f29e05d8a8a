//! Tensors of the Open Inference Protocol: types, sizes and exact checks, shared by everyone who touches one.
//!
//! The one form inside Slipway is the *raw* one: little-endian, row-major, without padding, each element of BYTES
//! preceded by its length in four bytes. A [`Tensor`] cannot be made whose bytes do not fit its type and shape, so what
//! holds one needs no further check of lengths.

mod bytes_elements;
mod contents;
mod data_type;
mod message;
mod tensor;

pub use bytes_elements::{BytesElements, join_bytes_elements};
pub use contents::{contents_to_raw, raw_to_contents};
pub use data_type::{DataType, UnknownDataType};
pub use message::{MessageError, raw_request, raw_response, request_tensors, response_tensors};
pub use tensor::{Problem, Tensor, TensorError, check_raw, dimensions, element_count, first_non_finite, raw_len};
