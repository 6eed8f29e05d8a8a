//! The Open Inference Protocol over gRPC, and what Triton adds to it.

use slipway_proto::inference::model_metadata_response::TensorMetadata;
use slipway_proto::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse,
};
use slipway_proto::oip::{Tensor, raw_request, response_tensors};
use tonic::Status;

use super::line::{ASK, Line};
use super::protocol::{Protocol, Told};
use super::triton::{RepositoryModelLoadRequest, RepositoryModelLoadResponse};
use crate::engine::EngineError;
use crate::signature::TensorSpec;

/// The protocol.
#[derive(Debug)]
pub(super) struct OpenInference;

impl OpenInference {
    /// Has Triton load the model that lies in its repository.
    pub(super) fn have_it_loaded(line: &Line) -> Result<(), EngineError> {
        let request = RepositoryModelLoadRequest { model_name: line.model().to_owned(), ..Default::default() };
        let path = "/inference.GRPCInferenceService/RepositoryModelLoad";
        let answered: Result<RepositoryModelLoadResponse, Status> = line.unary(path, request, line.start_timeout());
        answered.map(drop).map_err(|status| line.refuses(&status))
    }
}

impl Protocol for OpenInference {
    fn lives(&self, line: &Line) -> Result<bool, Status> {
        let path = "/inference.GRPCInferenceService/ServerLive";
        line.unary(path, ServerLiveRequest {}, ASK).map(|answer: ServerLiveResponse| answer.live)
    }

    fn has_model(&self, line: &Line) -> Result<bool, Status> {
        let request = ModelReadyRequest { name: line.model().to_owned(), ..ModelReadyRequest::default() };
        let path = "/inference.GRPCInferenceService/ModelReady";
        line.unary(path, request, ASK).map(|answer: ModelReadyResponse| answer.ready)
    }

    fn most_rows(&self, line: &Line) -> Option<usize> {
        let request = ModelConfigRequest { name: line.model().to_owned(), ..ModelConfigRequest::default() };
        // Not every server has the question.
        let answer: ModelConfigResponse =
            line.unary("/inference.GRPCInferenceService/ModelConfig", request, ASK).ok()?;
        usize::try_from(answer.config?.max_batch_size).ok().filter(|most| *most > 0)
    }

    fn told(&self, line: &Line) -> Result<Told, EngineError> {
        let request = ModelMetadataRequest { name: line.model().to_owned(), ..ModelMetadataRequest::default() };
        let told: Result<ModelMetadataResponse, Status> =
            line.unary("/inference.GRPCInferenceService/ModelMetadata", request, ASK);
        let told = told.map_err(|status| line.refuses(&status))?;
        Ok(Told { by: told.platform, inputs: specs(told.inputs)?, outputs: specs(told.outputs)? })
    }

    fn infer(&self, line: &Line, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, EngineError> {
        let request = raw_request(line.model(), "", inputs);
        let answered: Result<ModelInferResponse, Status> =
            line.unary("/inference.GRPCInferenceService/ModelInfer", request, line.run_timeout());
        let answer = answered.map_err(|status| line.failed(&status))?;
        response_tensors(&answer).map_err(|error| EngineError::Output(error.to_string()))
    }
}

fn specs(told: Vec<TensorMetadata>) -> Result<Vec<TensorSpec>, EngineError> {
    told.into_iter().map(spec).collect()
}

fn spec(told: TensorMetadata) -> Result<TensorSpec, EngineError> {
    let data_type = told.datatype.parse().map_err(|_| EngineError::UnsupportedType {
        tensor: told.name.clone(),
        reason: format!("the model server calls it `{}`", told.datatype),
    })?;
    Ok(TensorSpec { name: told.name, data_type, shape: told.shape })
}
