//! Answers that are kept for equal requests, where a deployment asks for it.
//!
//! What is equal: the revision, the parameters but the priority, the inputs and the wanted outputs, compared by a SHA-256 over all of them,
//! so that nobody can make up a request that is taken for another's. The revision, and not the model's digest alone: what a revision
//! that was taken back has answered is never given again, though the one before it serves the same model. A kept answer cannot grow old,
//! for an artifact is known by its digest and never changes.
//!
//! Only answers are kept, no failures, and nothing of the mesh's own traffic: what is measured or proved is always computed.

use bytes::Bytes;
use prost::Message as _;
use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest as _, Sha256};
use slipway_kernel::{ByteSize, RevisionId};
use slipway_proto::inference::{ModelInferRequest, ModelInferResponse};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Larger requests are neither looked up nor kept: hashing them holds up a thread of the runtime for more than about a millisecond.
const LARGEST_REQUEST: usize = 1 << 20;
/// What an entry takes besides its response: the key, its places in the index, the names of the worker.
const ENTRY: u64 = 256;
/// Bytes of an answer to a small request; a guess of how many entries there will be, which the index grows beyond.
const USUAL: u64 = 1 << 10;

/// What answers of all deployments may take.
#[derive(Debug)]
pub struct CacheMemory {
    free: Arc<AtomicU64>,
}

impl CacheMemory {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: ByteSize) -> Self {
        Self { free: Arc::new(AtomicU64::new(bytes.0)) }
    }

    /// Room for the answers of one deployment: what it wants, or what others have left.
    #[must_use]
    pub fn answers(&self, wanted: ByteSize) -> Answers {
        let mut granted = 0;
        // The closure gives a value always.
        let _ = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| {
            granted = free.min(wanted.0);
            Some(free - granted)
        });
        let entries = usize::try_from(granted / USUAL).unwrap_or(usize::MAX);
        Answers {
            wanted,
            kept: Cache::with_weighter(entries, granted, Weigher),
            grant: Grant { bytes: granted, of: Arc::clone(&self.free) },
        }
    }
}

#[derive(Debug)]
struct Grant {
    bytes: u64,
    of: Arc<AtomicU64>,
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.of.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// The answers of one deployment. The least used make room for others.
#[derive(Debug)]
pub struct Answers {
    wanted: ByteSize,
    kept: Cache<Key, Kept, Weigher>,
    grant: Grant,
}

impl Answers {
    /// What the deployment wants for them.
    #[must_use]
    pub const fn wanted(&self) -> ByteSize {
        self.wanted
    }

    /// What they may take.
    #[must_use]
    pub const fn granted(&self) -> u64 {
        self.grant.bytes
    }

    /// The answer that is kept for such a request.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Kept> {
        self.kept.get(key)
    }

    /// Keeps an answer.
    pub fn put(&self, key: Key, kept: Kept) {
        self.kept.insert(key, kept);
    }
}

/// An answer that is kept, and whose it was.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What the worker said. Its tensors are shared by all who have it.
    pub response: ModelInferResponse,
    /// Which worker.
    pub instance: Arc<str>,
}

impl Kept {
    /// The answer of this worker, with tensors of its own: those of the response may be parts of what else came over its connection.
    #[must_use]
    pub fn of(response: &ModelInferResponse, instance: &str) -> Self {
        let mut response = response.clone();
        for tensor in &mut response.raw_output_contents {
            *tensor = Bytes::copy_from_slice(tensor);
        }
        Self { response, instance: instance.into() }
    }
}

#[derive(Clone, Debug)]
struct Weigher;

impl Weighter<Key, Kept> for Weigher {
    fn weight(&self, _: &Key, kept: &Kept) -> u64 {
        kept.response.encoded_len() as u64 + ENTRY
    }
}

/// By what requests are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a request to a revision, with raw contents; none for a large one.
    #[must_use]
    pub fn of(revision: RevisionId, message: &ModelInferRequest) -> Option<Self> {
        let bytes: usize = message.raw_input_contents.iter().map(Bytes::len).sum();
        if bytes > LARGEST_REQUEST || message.raw_input_contents.len() != message.inputs.len() {
            return None;
        }
        let mut hash = Hasher(Sha256::new());
        hash.part(revision.to_string().as_bytes());
        let mut parameters: Vec<_> = message.parameters.iter().filter(|(name, _)| *name != "priority").collect();
        parameters.sort_unstable_by_key(|(name, _)| *name);
        hash.count(parameters.len());
        for (name, value) in parameters {
            hash.part(name.as_bytes());
            hash.part(&value.encode_to_vec());
        }
        hash.count(message.inputs.len());
        for (input, raw) in message.inputs.iter().zip(&message.raw_input_contents) {
            hash.part(input.name.as_bytes());
            hash.part(input.datatype.as_bytes());
            hash.count(input.shape.len());
            for size in &input.shape {
                hash.0.update(size.to_le_bytes());
            }
            hash.part(raw);
        }
        for output in &message.outputs {
            hash.part(output.name.as_bytes());
        }
        Some(Self(hash.0.finalize().into()))
    }
}

/// Every part with its length before it, so that no two different lists of parts are the same bytes.
struct Hasher(Sha256);

impl Hasher {
    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_le_bytes());
    }

    fn part(&mut self, part: &[u8]) {
        self.count(part.len());
        self.0.update(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_proto::{
        inference::{
            InferParameter, infer_parameter::ParameterChoice, model_infer_request::InferRequestedOutputTensor,
        },
        oip::{DataType, Tensor, raw_request, raw_response},
    };

    const REVISION: RevisionId = RevisionId::new(1, 1);

    fn request(values: &[f32]) -> ModelInferRequest {
        raw_request("digits", "id", [Tensor::from_f32("x", vec![1, values.len()], values).unwrap()])
    }

    fn with(name: &str, value: i64) -> ModelInferRequest {
        let mut request = request(&[1.0]);
        let parameter = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(value)) };
        request.parameters.insert(name.to_owned(), parameter);
        request
    }

    fn kept(bytes: usize) -> Kept {
        let tensor = Tensor::new("y".to_owned(), DataType::Uint8, vec![bytes], vec![7; bytes].into()).unwrap();
        Kept { response: raw_response("digits", "1-1", "id", [tensor]), instance: "a".into() }
    }

    #[test]
    fn requests_are_equal_by_all_that_an_answer_depends_on() {
        let key = |request: &ModelInferRequest| Key::of(REVISION, request).unwrap();
        let mut renamed = request(&[1.0]);
        renamed.id = "another".to_owned();
        assert_eq!(key(&renamed), key(&request(&[1.0])));
        assert_eq!(key(&with("priority", 1)), key(&request(&[1.0])));
        let mut wanted = request(&[1.0]);
        wanted.outputs.push(InferRequestedOutputTensor { name: "y".to_owned(), ..Default::default() });
        let mut reshaped = request(&[1.0, 2.0]);
        reshaped.inputs[0].shape = vec![2, 1];
        let all = [
            key(&request(&[1.0])),
            key(&request(&[2.0])),
            key(&request(&[1.0, 2.0])),
            key(&reshaped),
            key(&wanted),
            key(&with("p", 1)),
            key(&with("p", 2)),
            key(&with("q", 1)),
            Key::of(RevisionId::new(1, 2), &request(&[1.0])).unwrap(),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "{n}");
        }
    }

    #[test]
    fn parameters_are_hashed_in_one_order() {
        let names: Vec<String> = (0..50).map(|n| format!("p{n}")).collect();
        let of = |names: &mut dyn Iterator<Item = &String>| {
            let mut request = request(&[1.0]);
            request.parameters.extend(names.map(|name| (name.clone(), InferParameter::default())));
            Key::of(REVISION, &request)
        };
        assert_eq!(of(&mut names.iter()), of(&mut names.iter().rev()));
    }

    #[test]
    fn a_large_request_has_no_key() {
        assert!(Key::of(REVISION, &request(&vec![0.0; (LARGEST_REQUEST / 4) + 1])).is_none());
    }

    #[test]
    fn answers_take_no_more_than_was_granted_and_deployments_no_more_than_there_is() {
        let memory = CacheMemory::new(ByteSize::mebibytes(3));
        let first = memory.answers(ByteSize::mebibytes(2));
        let second = memory.answers(ByteSize::mebibytes(2));
        assert_eq!((first.granted(), second.granted()), (2 << 20, 1 << 20));
        for n in 0..10_000_u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            first.put(Key(key), kept(1_000));
        }
        assert!(first.kept.weight() <= 2 << 20, "{}", first.kept.weight());
        assert!(first.kept.len() > 1_000, "{}", first.kept.len());
        drop(first);
        assert_eq!(memory.answers(ByteSize::mebibytes(5)).granted(), 2 << 20);
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        let none = CacheMemory::new(ByteSize(0)).answers(ByteSize::mebibytes(1));
        none.put(Key([0; 32]), kept(10));
        assert!(none.get(&Key([0; 32])).is_none());
    }
}
