//! What a public door of gRPC says about itself to tools that know nothing of it: its public services, and no other.

use slipway_proto::public_descriptors;
use tonic_reflection::server::{Builder, v1, v1alpha};

/// Most bytes of a question: names of files and symbols are short.
const QUESTION_BYTES: usize = 64 * 1024;

/// What answers questions of `grpc.reflection.v1`.
#[must_use]
#[expect(clippy::expect_used, reason = "the descriptors are embedded; a test builds this")]
pub fn v1() -> v1::ServerReflectionServer<impl v1::ServerReflection> {
    builder().build_v1().expect("embedded descriptors are whole").max_decoding_message_size(QUESTION_BYTES)
}

/// What answers questions of `grpc.reflection.v1alpha`, which older tools ask.
#[must_use]
#[expect(clippy::expect_used, reason = "the descriptors are embedded; a test builds this")]
pub fn v1alpha() -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    builder().build_v1alpha().expect("embedded descriptors are whole").max_decoding_message_size(QUESTION_BYTES)
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_file_descriptor_set(public_descriptors())
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };

    async fn asked(question: MessageRequest) -> Result<MessageResponse, tonic::Status> {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let requests = futures::stream::iter([request]);
        let mut answers = ServerReflectionClient::new(v1()).server_reflection_info(requests).await?.into_inner();
        Ok(answers.message().await?.unwrap().message_response.unwrap())
    }

    #[tokio::test]
    async fn the_public_services_are_shown_and_no_other() {
        let MessageResponse::ListServicesResponse(list) =
            asked(MessageRequest::ListServices(String::new())).await.unwrap()
        else {
            panic!("a list was asked for")
        };
        let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        assert_eq!(
            names,
            ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "inference.GRPCInferenceService"]
        );
        for known in ["inference.GRPCInferenceService", "inference.ModelStatistics", "grpc.health.v1.Health"] {
            assert!(asked(MessageRequest::FileContainingSymbol(known.into())).await.is_ok(), "{known}");
        }
        for ours in ["slipway.inference.v1.DirectPath", "slipway.inference.v1.CallFrame", "slipway.v1.Requested"] {
            let refused = asked(MessageRequest::FileContainingSymbol(ours.into())).await;
            assert_eq!(refused.unwrap_err().code(), tonic::Code::NotFound, "{ours}");
        }
        let _ = v1alpha();
    }
}
