//! Element types of ONNX and what the Open Inference Protocol calls them; declarations of inputs and outputs.

use super::super::{
    broken::{Broken, CUT, text},
    content::Content,
    ports::{Declared, ElementType},
    wire::{Span, Value, Wire},
};

/// The type with this number in `TensorProto.DataType`.
pub(super) const fn element_type(number: u64) -> Option<ElementType> {
    let (name, bits, carried) = match number {
        1 => ("FP32", 32, true),
        2 => ("UINT8", 8, true),
        3 => ("INT8", 8, true),
        4 => ("UINT16", 16, true),
        5 => ("INT16", 16, true),
        6 => ("INT32", 32, true),
        7 => ("INT64", 64, true),
        8 => ("BYTES", 0, true),
        9 => ("BOOL", 8, true),
        10 => ("FP16", 16, true),
        11 => ("FP64", 64, true),
        12 => ("UINT32", 32, true),
        13 => ("UINT64", 64, true),
        14 => ("COMPLEX64", 64, false),
        15 => ("COMPLEX128", 128, false),
        16 => ("BF16", 16, false),
        17 => ("FP8E4M3FN", 8, false),
        18 => ("FP8E4M3FNUZ", 8, false),
        19 => ("FP8E5M2", 8, false),
        20 => ("FP8E5M2FNUZ", 8, false),
        21 => ("UINT4", 4, false),
        22 => ("INT4", 4, false),
        23 => ("FP4E2M1", 4, false),
        24 => ("FP8E8M0", 8, false),
        25 => ("UINT2", 2, false),
        26 => ("INT2", 2, false),
        _ => return None,
    };
    Some(ElementType::new(name, bits, carried))
}

/// Most dimensions of a tensor; engines stop well below.
const MOST_DIMENSIONS: usize = 64;

/// Reads a `ValueInfoProto`.
pub(super) fn declared<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<Declared, Broken> {
    let (mut name, mut kind) = (String::new(), Kind::Missing);
    let mut fields = wire.fields(span);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Value::Bytes(span)) => name = text(wire, span)?,
            (2, Value::Bytes(span)) => kind = read_kind(wire, span)?,
            _ => {}
        }
    }
    Ok(kind.declare(name))
}

/// What a `TypeProto` says.
enum Kind {
    Missing,
    Tensor { element: u64, shape: Option<Vec<i32>> },
    Other(&'static str),
}

impl Kind {
    fn declare(self, name: String) -> Declared {
        match self {
            Self::Missing => Declared::untyped(name, "declares no type"),
            Self::Other(what) => Declared::untyped(name, &format!("is a {what}, and only tensors are carried")),
            Self::Tensor { element, shape } => match element_type(element) {
                Some(element) => Declared::tensor(name, element, shape),
                None => Declared::untyped(name, &format!("is of element type {element}, which is not known")),
            },
        }
    }
}

fn read_kind<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<Kind, Broken> {
    let mut kind = Kind::Missing;
    let mut fields = wire.fields(span);
    while let Some(field) = fields.next()? {
        kind = match (field.number, field.value) {
            (1, Value::Bytes(span)) => tensor(wire, span)?,
            (4, _) => Kind::Other("sequence"),
            (5, _) => Kind::Other("map"),
            (7, _) => Kind::Other("opaque value"),
            (8, _) => Kind::Other("sparse tensor"),
            (9, _) => Kind::Other("optional value"),
            _ => kind,
        };
    }
    Ok(kind)
}

fn tensor<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<Kind, Broken> {
    let (mut element, mut shape) = (0, None);
    let mut fields = wire.fields(span);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Value::Varint(number)) => element = number,
            (2, Value::Bytes(span)) => shape = Some(dimensions(wire, span)?),
            _ => {}
        }
    }
    Ok(Kind::Tensor { element, shape })
}

fn dimensions<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<Vec<i32>, Broken> {
    let mut shape = Vec::new();
    let mut fields = wire.fields(span);
    while let Some(field) = fields.next()? {
        if let (1, Value::Bytes(span)) = (field.number, field.value) {
            if shape.len() == MOST_DIMENSIONS {
                let found = format!("it is an ONNX file with a tensor of more than {MOST_DIMENSIONS} dimensions");
                return Err(Broken::new(found, "export it again"));
            }
            shape.push(dimension(wire, span)?);
        }
    }
    Ok(shape)
}

/// A `Dimension`: a number, or a symbol or nothing, which are both free.
fn dimension<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<i32, Broken> {
    let mut size = -1;
    let mut fields = wire.fields(span);
    while let Some(field) = fields.next()? {
        if let (1, Value::Varint(number)) = (field.number, field.value) {
            #[expect(clippy::cast_possible_wrap, reason = "protobuf writes a negative int64 as its two's complement")]
            let number = number as i64;
            size = match number {
                // Some exporters write a free dimension as a negative number.
                ..0 => -1,
                _ => i32::try_from(number)
                    .map_err(|_| Broken::new(format!("it is an ONNX file with a dimension of {number}"), CUT))?,
            };
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::wire::write::{bytes, number},
        *,
    };

    fn value(element: u64, dimensions: Option<&[Option<u64>]>) -> Vec<u8> {
        let dimension = |size: &Option<u64>| {
            let content = size.map_or_else(|| bytes(2, b"N"), |size| number(1, size));
            bytes(1, &content)
        };
        let shape = dimensions.map(|all| bytes(2, &all.iter().flat_map(dimension).collect::<Vec<_>>()));
        let tensor = [number(1, element), shape.unwrap_or_default()].concat();
        [bytes(1, b"x"), bytes(2, &bytes(1, &tensor))].concat()
    }

    fn read(message: &[u8]) -> Result<Declared, String> {
        let wire = Wire::new(message);
        declared(&wire, wire.whole()).map_err(|broken| broken.into_invalid(super::super::KIND).to_string())
    }

    #[test]
    fn a_free_dimension_is_minus_one_and_counts_as_one() {
        let declared = read(&value(1, Some(&[None, Some(3), Some(u64::MAX)]))).unwrap();
        assert_eq!(declared.spec.shape, [-1, 3, -1]);
        assert_eq!((declared.spec.datatype.as_str(), declared.row_bytes), ("FP32", 12));
        assert_eq!(declared.untyped, None);
    }

    #[test]
    fn a_scalar_is_carried_and_what_declares_no_shape_is_not() {
        assert_eq!(read(&value(7, Some(&[]))).unwrap().untyped, None);
        assert_eq!(read(&value(7, None)).unwrap().untyped.unwrap().to_string(), "`x` declares no shape");
    }

    #[test]
    fn what_is_no_tensor_or_of_a_type_that_is_not_carried_says_so() {
        let sequence = [bytes(1, b"probabilities"), bytes(2, &bytes(4, b""))].concat();
        assert!(read(&sequence).unwrap().untyped.unwrap().to_string().contains("is a sequence"));
        assert!(read(&value(14, Some(&[]))).unwrap().untyped.unwrap().to_string().contains("COMPLEX64"));
        assert!(read(&value(99, Some(&[]))).unwrap().untyped.unwrap().to_string().contains("99"));
        assert!(read(&bytes(1, b"x")).unwrap().untyped.unwrap().to_string().contains("no type"));
    }

    #[test]
    fn a_dimension_beyond_all_measure_is_refused() {
        assert!(read(&value(1, Some(&[Some(1 << 40)]))).unwrap_err().contains("a dimension of 1099511627776"));
        let many = vec![Some(1); 65];
        assert!(read(&value(1, Some(&many))).unwrap_err().contains("dimensions"));
    }
}
