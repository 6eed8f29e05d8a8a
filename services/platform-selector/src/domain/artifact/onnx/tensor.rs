//! Constants of a model (`TensorProto`): how many numbers, how many bytes, and whether they are really in the file.

use super::{
    super::{
        broken::{Broken, CUT, text},
        content::Content,
        wire::{Span, Value, Wire},
    },
    types::element_type,
};

/// What was found of one constant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) name: String,
    pub(super) elements: u64,
    pub(super) bytes: u64,
}

/// Reads a constant.
pub(super) fn constant<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<Constant, Broken> {
    let mut parts = Parts { elements: Some(1), ..Parts::default() };
    let mut fields = wire.fields(span);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Value::Varint(size)) => parts.dimension(size),
            (1, Value::Bytes(span)) => wire.packed(span, |size| parts.dimension(size))?,
            (2, Value::Varint(number)) => parts.element = number,
            // Numbers by type: packed, or one per field.
            (4 | 5 | 7 | 10 | 11, Value::Bytes(span)) => parts.typed += span.length(),
            (4 | 5 | 7 | 10 | 11, _) => parts.typed += 8,
            // Strings take at least a tag and a length each, so an empty one is not nothing.
            (6, Value::Bytes(span)) => parts.typed += span.length() + 2,
            (8, Value::Bytes(span)) => parts.name = text(wire, span)?,
            (9, Value::Bytes(span)) => parts.raw = Some(span.length()),
            (13, _) | (14, Value::Varint(1)) => parts.external = true,
            _ => {}
        }
    }
    parts.check()
}

#[derive(Default)]
struct Parts {
    name: String,
    /// None once it overflowed or was negative.
    elements: Option<u64>,
    element: u64,
    typed: u64,
    raw: Option<u64>,
    external: bool,
}

impl Parts {
    fn dimension(&mut self, size: u64) {
        // A negative size is one with the highest bit set.
        let size = Some(size).filter(|size| *size <= i64::MAX.unsigned_abs());
        self.elements = self.elements.zip(size).and_then(|(elements, size)| elements.checked_mul(size));
    }

    fn check(self) -> Result<Constant, Broken> {
        let shown = format!("the constant `{}`", self.name);
        if self.external {
            return Err(Broken::new(
                format!("it is an ONNX file whose {} lies in another file", shown.trim_start_matches("the ")),
                "a model is one file, known by its digest: save it with its data inside (onnx.save_model without save_as_external_data)",
            ));
        }
        let Some(elements) = self.elements else {
            return Err(Broken::new(format!("it is an ONNX file in which {shown} has an impossible shape"), CUT));
        };
        let bits = element_type(self.element).map_or(8, |element| element.bits);
        let held = match self.raw {
            Some(raw) => {
                let wanted = elements.checked_mul(bits).map(|bits| bits.div_ceil(8));
                // Strings have no raw form; a type that is not known is the engine's to refuse.
                if bits != 0 && element_type(self.element).is_some() && wanted != Some(raw) {
                    let wanted = wanted
                        .map_or_else(|| "more bytes than there are".to_owned(), |wanted| format!("{wanted} bytes"));
                    let found = format!("it is an ONNX file in which {shown} wants {wanted} and has {raw}");
                    return Err(Broken::new(found, CUT));
                }
                raw
            }
            None => self.typed,
        };
        // Every element takes a quarter of a byte at least (2 bits), in whichever way it is written.
        if elements > held.saturating_mul(4) {
            let found = format!("it is an ONNX file in which {shown} says {elements} elements and holds {held} bytes");
            return Err(Broken::new(found, CUT));
        }
        // What the engine will hold is the plain form, however it is written in the file.
        let plain = elements.checked_mul(bits).map_or(held, |bits| bits.div_ceil(8));
        Ok(Constant { name: self.name, elements, bytes: plain.max(if bits == 0 { held } else { 0 }) })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::wire::write::{bytes, number, varint},
        *,
    };

    fn read(parts: &[Vec<u8>]) -> Result<Constant, String> {
        let message = parts.concat();
        let wire = Wire::new(&message[..]);
        constant(&wire, wire.whole()).map_err(|broken| broken.into_invalid(super::super::KIND).to_string())
    }

    fn named(parts: &[Vec<u8>]) -> Result<Constant, String> {
        read(&[&[bytes(8, b"w")], parts].concat())
    }

    #[test]
    fn numbers_are_counted_however_they_are_written() {
        let expected = Constant { name: "w".into(), elements: 6, bytes: 24 };
        let shape = [number(1, 2), number(1, 3), number(2, 1)].concat();
        assert_eq!(named(&[shape.clone(), bytes(9, &[0; 24])]).unwrap(), expected);
        assert_eq!(named(&[shape, bytes(4, &[0; 24])]).unwrap(), expected);
        let packed = [bytes(1, &[varint(2), varint(3)].concat()), number(2, 1)].concat();
        assert_eq!(named(&[packed, bytes(9, &[0; 24])]).unwrap(), expected);
        // int64 numbers as varints: less in the file than in memory.
        let short = named(&[number(1, 4), number(2, 7), bytes(7, &[1, 1, 1, 1])]).unwrap();
        assert_eq!((short.elements, short.bytes), (4, 32));
        // A scalar has no dimensions.
        assert_eq!(named(&[number(2, 1), bytes(9, &[0; 4])]).unwrap().elements, 1);
    }

    #[test]
    fn a_constant_that_is_not_there_is_refused() {
        for (parts, word) in [
            (vec![number(1, 100), number(2, 1), bytes(9, &[0; 40])], "wants 400 bytes and has 40"),
            (vec![number(1, 1 << 40), number(2, 1)], "says 1099511627776 elements and holds 0 bytes"),
            (vec![number(1, 1 << 40), number(1, 1 << 40), number(2, 1)], "impossible shape"),
            (vec![number(1, u64::MAX), number(2, 1)], "impossible shape"),
            (vec![number(1, 1 << 62), number(2, 1), bytes(9, &[0; 4])], "wants more bytes than there are"),
            (vec![number(14, 1)], "constant `w` lies in another file"),
            (vec![bytes(13, &bytes(1, b"location"))], "lies in another file"),
        ] {
            let refused = named(&parts).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
    }

    #[test]
    fn an_empty_constant_is_one() {
        assert_eq!(named(&[number(1, 0), number(2, 1), bytes(9, &[])]).unwrap().elements, 0);
    }
}
