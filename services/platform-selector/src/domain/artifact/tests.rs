use super::{
    wire::write::{bytes, number},
    *,
};
use proptest::prelude::*;

/// A small ONNX file that is read without complaint.
fn good() -> Vec<u8> {
    let shape = bytes(2, &[bytes(1, &bytes(2, b"N")), bytes(1, &number(1, 4))].concat());
    let value = |name: &[u8]| [bytes(1, name), bytes(2, &bytes(1, &[number(1, 1), shape.clone()].concat()))].concat();
    let attribute = [bytes(1, b"axis"), number(3, 1), number(20, 2)].concat();
    let node = [bytes(1, b"x"), bytes(1, b"w"), bytes(2, b"y"), bytes(4, b"Mul"), bytes(5, &attribute)].concat();
    let weights = [number(1, 4), number(2, 1), bytes(8, b"w"), bytes(9, &[0; 16])].concat();
    let graph = [bytes(1, &node), bytes(5, &weights), bytes(11, &value(b"x")), bytes(12, &value(b"y"))].concat();
    [number(1, 8), bytes(2, b"test"), bytes(7, &graph), bytes(8, &number(2, 17))].concat()
}

#[test]
fn the_good_one_is_good() {
    assert_eq!(read(&good()[..]).unwrap().format, ModelFormat::Onnx);
}

/// Beginnings that lead into each reader.
fn beginnings() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        number(1, 8),
        [number(1, 8), vec![0x3a]].concat(),
        b"PK\x03\x04".to_vec(),
        b"PK\x05\x06".to_vec(),
        40_u64.to_le_bytes().into_iter().chain(*b"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}").collect(),
        b"\x80\x04".to_vec(),
        [number(1, 1), vec![0x12]].concat(),
        b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0".to_vec(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_bytes_make_a_reader_panic(
        beginning in proptest::sample::select(beginnings()), rest in proptest::collection::vec(any::<u8>(), 0..600)
    ) {
        let content = [beginning, rest].concat();
        let _ = read(&content[..]);
    }

    #[test]
    fn no_change_to_a_good_file_makes_a_reader_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut content = good();
        for (place, byte) in changes {
            let place = place.index(content.len());
            content[place] = byte;
        }
        if let Some(cut) = cut {
            let length = cut.index(content.len());
            content.truncate(length);
        }
        if let Ok(model) = read(&content[..]) {
            // Whatever was changed, figures stay within what the file can hold.
            prop_assert!(model.weight_bytes <= content.len() as u64 * 16);
            prop_assert!(model.inputs.len() + model.outputs.len() <= 512);
        }
    }

    #[test]
    fn a_refusal_never_quotes_the_file(secret in "[a-z]{12}") {
        for content in [secret.clone(), format!("{{\"{secret}\":1}}"), format!("<html>{secret}"), format!("{secret}\0")] {
            let invalid = read(content.as_bytes()).unwrap_err().to_string();
            prop_assert!(!invalid.contains(&secret), "{}", invalid);
        }
    }
}
