//! How what belongs to a deployment is called in a cluster: within the bounds of names and labels there, and never two of them alike.

use crate::{DeploymentId, Digest, RevisionId};

/// A pod is named after its Deployment with up to 17 characters behind, and its name is that of the worker: one DNS label.
const LONGEST: usize = 63 - 17;
/// What Kubernetes takes for the value of a label.
const LONGEST_LABEL: usize = 63;

/// Eight hexadecimal digits of a text: `a-b.c` and `a.b-c` are told apart by them.
fn short(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string().chars().take(8).collect()
}

/// A text cut to so many characters, which does not end with a dash.
fn cut(text: &str, room: usize) -> &str {
    text.get(..room.min(text.len())).unwrap_or(text).trim_end_matches(['-', '.'])
}

/// The name of what belongs to a deployment: `digits-1f0c22aa`.
#[must_use]
pub fn deployment(id: &DeploymentId) -> String {
    let hash = short(&id.to_string());
    format!("{}-{hash}", cut(id.name.as_str(), LONGEST - 9))
}

/// The name of what belongs to a revision: `digits-2-1-1f0c22aa`.
#[must_use]
pub fn revision(id: &DeploymentId, revision: RevisionId) -> String {
    let rest = format!("-{revision}-{}", short(&id.to_string()));
    format!("{}{rest}", cut(id.name.as_str(), LONGEST.saturating_sub(rest.len())))
}

/// The name of an object that is what it holds.
#[must_use]
pub fn content(base: &str, content: &str) -> String {
    format!("{base}-{}", short(content))
}

/// The durable consumer of a revision's queue at the broker. Labels have no '_', so the parts cannot run into each other.
#[must_use]
pub fn queue(id: &DeploymentId, revision: RevisionId) -> String {
    format!("{}_{}_{revision}", id.namespace, id.name)
}

/// A deployment as the value of a label: itself where it fits.
#[must_use]
pub fn label(id: &DeploymentId) -> String {
    let whole = id.to_string();
    if whole.len() <= LONGEST_LABEL {
        return whole;
    }
    let hash = short(&whole);
    format!("{}-{hash}", cut(&whole, LONGEST_LABEL - 9))
}

/// What Kubernetes takes for the name of a namespace, and for much else: a DNS label.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

/// The same in words, for a refusal.
pub const DNS_LABEL: &str = "1 to 63 characters a-z, 0-9 and '-'";

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeploymentId {
        text.parse().unwrap()
    }

    #[test]
    fn names_fit_their_pods_and_never_meet() {
        let long = format!("{}.{}", "n".repeat(63), "m".repeat(63));
        let name = revision(&id(&long), RevisionId::new(1_000, 100));
        assert!(name.len() + 17 <= 63 && name.starts_with("mmm"), "{name}");
        assert!(label(&id(&long)).len() <= 63 && deployment(&id(&long)).len() + 17 <= 63);
        let of = |text: &str| revision(&id(text), RevisionId::new(1, 1));
        assert_ne!(of("a.b-c"), of("a-b.c"));
        assert_ne!(of("a.b"), of("c.b"));
        assert_eq!(label(&id("default.digits")), "default.digits");
    }

    #[test]
    fn what_is_cut_ends_with_a_letter() {
        let name = deployment(&id(&format!("n.{}-{}", "a".repeat(36), "b".repeat(10))));
        assert!(!name.contains("--"), "{name}");
    }
}
