//! Typed contents to the raw form and back.

use bytes::Bytes;

use super::{BytesElements, DataType, Problem, join_bytes_elements};
use crate::inference::InferTensorContents;

/// The raw form of typed contents, checked: exactly the field of the type is used, it has `count` elements, and each
/// fits the type.
///
/// # Errors
/// The first [`Problem`] found.
pub fn contents_to_raw(data_type: DataType, count: usize, contents: &InferTensorContents) -> Result<Bytes, Problem> {
    let own = own_field(data_type).ok_or(Problem::RawOnly(data_type))?;
    for (field, length) in lengths(contents) {
        if field == own && length != count {
            return Err(Problem::WrongCount { expected: count, found: length });
        }
        if field != own && length != 0 {
            return Err(Problem::WrongContents { data_type, field });
        }
    }
    let raw = match data_type {
        DataType::Bool => contents.bool_contents.iter().map(|&value| u8::from(value)).collect(),
        DataType::Int8 => narrow(data_type, &contents.int_contents, i8::to_le_bytes)?,
        DataType::Int16 => narrow(data_type, &contents.int_contents, i16::to_le_bytes)?,
        DataType::Int32 => spread(&contents.int_contents, i32::to_le_bytes),
        DataType::Int64 => spread(&contents.int64_contents, i64::to_le_bytes),
        DataType::Uint8 => narrow(data_type, &contents.uint_contents, u8::to_le_bytes)?,
        DataType::Uint16 => narrow(data_type, &contents.uint_contents, u16::to_le_bytes)?,
        DataType::Uint32 => spread(&contents.uint_contents, u32::to_le_bytes),
        DataType::Uint64 => spread(&contents.uint64_contents, u64::to_le_bytes),
        DataType::Fp16 | DataType::Bf16 => return Err(Problem::RawOnly(data_type)),
        DataType::Fp32 => spread(&contents.fp32_contents, f32::to_le_bytes),
        DataType::Fp64 => spread(&contents.fp64_contents, f64::to_le_bytes),
        DataType::Bytes => join_bytes_elements(contents.bytes_contents.iter().map(|element| &element[..]))?,
    };
    Ok(raw.into())
}

/// Typed contents of the raw form. Bytes that end inside an element are refused; a number type's remainder shorter than
/// an element is a [`Problem::WrongLength`].
///
/// # Errors
/// The first [`Problem`] found; [`Problem::RawOnly`] for FP16.
pub fn raw_to_contents(data_type: DataType, raw: &[u8]) -> Result<InferTensorContents, Problem> {
    let mut contents = InferTensorContents::default();
    match data_type {
        DataType::Bool => {
            super::check_raw(data_type, raw.len(), raw)?;
            contents.bool_contents = raw.iter().map(|&byte| byte == 1).collect();
        }
        DataType::Int8 => contents.int_contents = gather(raw, |b| i8::from_le_bytes(b).into())?,
        DataType::Int16 => contents.int_contents = gather(raw, |b| i16::from_le_bytes(b).into())?,
        DataType::Int32 => contents.int_contents = gather(raw, i32::from_le_bytes)?,
        DataType::Int64 => contents.int64_contents = gather(raw, i64::from_le_bytes)?,
        DataType::Uint8 => contents.uint_contents = gather(raw, |b| u8::from_le_bytes(b).into())?,
        DataType::Uint16 => contents.uint_contents = gather(raw, |b| u16::from_le_bytes(b).into())?,
        DataType::Uint32 => contents.uint_contents = gather(raw, u32::from_le_bytes)?,
        DataType::Uint64 => contents.uint64_contents = gather(raw, u64::from_le_bytes)?,
        DataType::Fp16 | DataType::Bf16 => return Err(Problem::RawOnly(data_type)),
        DataType::Fp32 => contents.fp32_contents = gather(raw, f32::from_le_bytes)?,
        DataType::Fp64 => contents.fp64_contents = gather(raw, f64::from_le_bytes)?,
        DataType::Bytes => {
            contents.bytes_contents =
                BytesElements::new(raw).map(|element| element.map(Bytes::copy_from_slice)).collect::<Result<_, _>>()?;
        }
    }
    Ok(contents)
}

/// The field that holds the elements of a type; `None` for the type without one.
const fn own_field(data_type: DataType) -> Option<&'static str> {
    match data_type {
        DataType::Bool => Some("bool_contents"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => Some("int_contents"),
        DataType::Int64 => Some("int64_contents"),
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => Some("uint_contents"),
        DataType::Uint64 => Some("uint64_contents"),
        DataType::Fp16 | DataType::Bf16 => None,
        DataType::Fp32 => Some("fp32_contents"),
        DataType::Fp64 => Some("fp64_contents"),
        DataType::Bytes => Some("bytes_contents"),
    }
}

/// How many elements each field holds.
fn lengths(contents: &InferTensorContents) -> [(&'static str, usize); 8] {
    [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ]
}

fn spread<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

fn narrow<W, T, const N: usize>(
    data_type: DataType,
    values: &[W],
    to_bytes: fn(T) -> [u8; N],
) -> Result<Vec<u8>, Problem>
where
    W: Copy + Into<i64>,
    T: TryFrom<W>,
{
    let mut raw = Vec::with_capacity(values.len() * N);
    for (index, &value) in values.iter().enumerate() {
        let narrowed = T::try_from(value).map_err(|_| Problem::OutOfRange { data_type, index, value: value.into() })?;
        raw.extend_from_slice(&to_bytes(narrowed));
    }
    Ok(raw)
}

fn gather<T, const N: usize>(raw: &[u8], from_bytes: fn([u8; N]) -> T) -> Result<Vec<T>, Problem> {
    let (elements, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(Problem::WrongLength { expected: elements.len() * N, found: raw.len() });
    }
    Ok(elements.iter().map(|element| from_bytes(*element)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ints(values: Vec<i32>) -> InferTensorContents {
        InferTensorContents { int_contents: values, ..InferTensorContents::default() }
    }

    #[test]
    fn an_element_out_of_range_is_refused_by_its_index() {
        for (data_type, value) in [(DataType::Int8, 128), (DataType::Int8, -129), (DataType::Int16, 40_000)] {
            assert_eq!(
                contents_to_raw(data_type, 2, &ints(vec![0, value])),
                Err(Problem::OutOfRange { data_type, index: 1, value: value.into() })
            );
        }
        let contents = InferTensorContents { uint_contents: vec![256], ..InferTensorContents::default() };
        assert!(contents_to_raw(DataType::Uint8, 1, &contents).is_err());
        assert!(contents_to_raw(DataType::Uint16, 1, &contents).is_ok());
    }

    #[test]
    fn elements_in_the_field_of_another_type_are_refused_by_the_field() {
        assert_eq!(
            contents_to_raw(DataType::Fp32, 1, &ints(vec![1])),
            Err(Problem::WrongContents { data_type: DataType::Fp32, field: "int_contents" })
        );
        let both =
            InferTensorContents { int_contents: vec![1], fp32_contents: vec![1.0], ..InferTensorContents::default() };
        assert!(contents_to_raw(DataType::Int32, 1, &both).is_err());
    }

    #[test]
    fn too_few_and_too_many_elements_are_refused() {
        for found in [0, 1, 3] {
            assert_eq!(
                contents_to_raw(DataType::Int32, 2, &ints(vec![7; found])),
                Err(Problem::WrongCount { expected: 2, found })
            );
        }
    }

    #[test]
    fn half_precision_exists_only_in_raw_form() {
        let nothing = InferTensorContents::default();
        assert_eq!(contents_to_raw(DataType::Fp16, 0, &nothing), Err(Problem::RawOnly(DataType::Fp16)));
        assert_eq!(raw_to_contents(DataType::Fp16, &[]), Err(Problem::RawOnly(DataType::Fp16)));
    }

    fn any_raw() -> impl Strategy<Value = (DataType, usize, Vec<u8>)> {
        let raw_only = [DataType::Fp16, DataType::Bf16];
        let types: Vec<_> = DataType::ALL.into_iter().filter(|data_type| !raw_only.contains(data_type)).collect();
        (proptest::sample::select(types), 0_usize..16, any::<u64>()).prop_map(|(data_type, count, seed)| {
            // The bits of the seed, over and over: every pattern, cheaply.
            let byte = |index: usize| seed.rotate_left(u32::try_from(index % 64).unwrap()).to_le_bytes()[0];
            let raw = match data_type.element_size() {
                Some(size) if data_type == DataType::Bool => (0..count * size).map(|i| byte(i) & 1).collect(),
                Some(size) => (0..count * size).map(byte).collect(),
                None => {
                    let elements: Vec<Vec<u8>> = (0..count).map(|i| (0..i).map(byte).collect()).collect();
                    join_bytes_elements(elements.iter().map(Vec::as_slice)).unwrap()
                }
            };
            (data_type, count, raw)
        })
    }

    proptest! {
        #[test]
        fn raw_to_typed_and_back_is_bit_for_bit_the_same((data_type, count, raw) in any_raw()) {
            let contents = raw_to_contents(data_type, &raw).unwrap();
            let back = contents_to_raw(data_type, count, &contents).unwrap();
            // A signalling NaN may be quieted on its way; all else is the same bits.
            if super::super::first_non_finite(data_type, &raw).is_none() {
                prop_assert_eq!(back, Bytes::from(raw));
            } else {
                prop_assert_eq!(back.len(), raw.len());
            }
        }

        #[test]
        fn any_bytes_become_contents_or_are_refused(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            for data_type in DataType::ALL {
                if let Ok(contents) = raw_to_contents(data_type, &raw) {
                    let count = lengths(&contents).iter().map(|(_, length)| length).sum();
                    prop_assert!(contents_to_raw(data_type, count, &contents).is_ok());
                }
            }
        }
    }
}
