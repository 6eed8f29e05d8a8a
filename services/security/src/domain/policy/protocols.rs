//! The protocols that may be offered.

use super::{Policy, Subject, Violation, listed};
use slipway_kernel::spec::Protocol;

pub(super) const NAME: &str = "protocols";

pub(super) fn check(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    let serving = subject.spec.serving.protocols.iter().map(|protocol| ("spec.serving.protocols", word(*protocol)));
    let inputs = subject.spec.inputs.iter().map(|input| ("spec.inputs", input.name()));
    let strange = serving.chain(inputs).filter(|(_, word)| !policy.protocols.iter().any(|one| one == word));
    strange
        .map(|(path, word)| {
            Violation::new(NAME, path, word, format!("{} (policy.protocols)", listed(&policy.protocols)))
        })
        .collect()
}

const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Grpc => "grpc",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::found, *};
    use serde_json::json;

    #[test]
    fn each_protocol_that_is_not_allowed_is_named() {
        let spec = json!({ "serving": { "protocols": ["http", "grpc"] } });
        let only = |word: &str| Policy { protocols: vec![word.to_owned()], ..Policy::default() };
        let paths = |policy: &Policy| -> Vec<String> {
            found(&spec, policy, |_, _, _| ()).into_iter().map(|v| format!("{} {}", v.path, v.value)).collect()
        };
        assert_eq!(paths(&Policy::default()), [] as [&str; 0]);
        assert_eq!(paths(&only("http")), ["spec.serving.protocols grpc"]);
        assert_eq!(paths(&only("grpc")), ["spec.serving.protocols http", "spec.inputs http"]);
    }
}
