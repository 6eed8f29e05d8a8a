//! What goes beside the messages of the gRPC protocol: refusals, and the deadline of a client.

use http::{HeaderValue, Response};
use slipway_proto::failure::{FailureCode, retry_after_s};
use std::time::Duration;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

/// In a refusal: the failure code as a word. Without it, a status was made by the transport.
pub const FAILURE: &str = "slipway-failure";
/// In a refusal: seconds after which trying again may help.
pub const RETRY_AFTER: &str = "retry-after";

/// The header with the number of a status.
const STATUS: &str = "grpc-status";

/// A refusal as a status.
#[must_use]
pub fn status(code: FailureCode, message: impl Into<String>, retry_after: Option<Duration>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(FAILURE, MetadataValue::from_static(code.as_str()));
    if let Some(after) = retry_after {
        metadata.insert(RETRY_AFTER, MetadataValue::from(retry_after_s(after)));
    }
    Status::with_metadata(code.grpc_code(), message, metadata)
}

/// Names a refusal that the transport made before any handler: what a client sent was no message. The library calls that an internal
/// error, or out of range; it is neither, and would be counted among our own faults.
pub fn name_refusal<B>(response: &mut Response<B>) {
    let headers = response.headers_mut();
    let Some(status) = headers.get(STATUS).filter(|_| !headers.contains_key(FAILURE)) else { return };
    let code = match Code::from_bytes(status.as_bytes()) {
        Code::Ok => return,
        // The sender is told what was wrong with it in the message.
        Code::Internal => FailureCode::InvalidArgument,
        // The library bounds nothing but the size of messages, packed and unpacked.
        Code::OutOfRange | Code::ResourceExhausted => FailureCode::PayloadTooLarge,
        code => FailureCode::from_grpc(code),
    };
    headers.insert(STATUS, HeaderValue::from(code.grpc_code() as i32));
    headers.insert(FAILURE, HeaderValue::from_static(code.as_str()));
}

/// The deadline that a client says: digits and a unit. What is none is none: the transport has its own eye on it.
#[must_use]
pub fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let value = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    // A sign is none of them.
    let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<u32>().ok())??;
    let unit = match unit {
        "H" => Duration::from_secs(3_600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    unit.checked_mul(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_deadline_is_digits_and_a_unit() {
        let timeout = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            timeout(&metadata)
        };
        assert_eq!(timeout("20m"), Some(Duration::from_millis(20)));
        assert_eq!(timeout("99999999H"), Duration::from_secs(3_600).checked_mul(99_999_999));
        for none in ["", "m", "20", "-1m", "+1m", "20x", "99999999999H"] {
            assert_eq!(timeout(none), None, "{none}");
        }
    }

    #[test]
    fn what_the_transport_refuses_is_the_clients_fault_and_has_its_word() {
        for (made, code, word) in [
            (Code::Internal, Code::InvalidArgument, Some("invalid-argument")),
            (Code::OutOfRange, Code::InvalidArgument, Some("payload-too-large")),
            (Code::ResourceExhausted, Code::InvalidArgument, Some("payload-too-large")),
            (Code::InvalidArgument, Code::InvalidArgument, Some("invalid-argument")),
            (Code::Unimplemented, Code::Unimplemented, Some("unimplemented")),
            (Code::Ok, Code::Ok, None),
        ] {
            let mut response = Status::new(made, "x").into_http::<()>();
            name_refusal(&mut response);
            let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(text(STATUS), Some((code as i32).to_string()), "{made:?}");
            assert_eq!(text(FAILURE).as_deref(), word, "{made:?}");
        }
    }

    #[test]
    fn a_refusal_of_ours_keeps_its_code_and_word() {
        let mut response = status(FailureCode::Internal, "our fault", None).into_http::<()>();
        name_refusal(&mut response);
        assert_eq!(response.headers()[FAILURE], "internal");
        assert_eq!(response.headers()[STATUS], "13");
    }

    #[test]
    fn a_refusal_carries_code_word_and_time_to_come_back() {
        let status = status(FailureCode::Overloaded, "full", Some(Duration::from_millis(1_001)));
        assert_eq!(status.code(), FailureCode::Overloaded.grpc_code());
        let text = |name| status.metadata().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!((text(FAILURE).as_str(), text(RETRY_AFTER).as_str()), ("overloaded", "2"));
    }
}
