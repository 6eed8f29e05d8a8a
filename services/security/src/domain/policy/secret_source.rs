//! Secrets of outputs stand in the spec by reference, and only to places where secrets may lie. Whether the secret is there
//! is told by the service that reads it, in its own environment.

use super::{Policy, Subject, Violation, listed};
use slipway_kernel::spec::{Output, SecretReference};

pub(super) const NAME: &str = "secret-source";

pub(super) fn check(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    let outputs = subject.spec.outputs.iter().enumerate();
    let references = outputs.flat_map(|(n, output)| {
        let named = match output {
            Output::Postgres(postgres) => vec![("postgres.url", &postgres.url)],
            Output::S3(s3) => {
                let keys = [("s3.accessKey", &s3.access_key), ("s3.secretKey", &s3.secret_key)];
                keys.into_iter().filter_map(|(name, key)| Some((name, key.as_ref()?))).collect()
            }
            Output::Sqlite(_) | Output::Files(_) => Vec::new(),
        };
        named.into_iter().map(move |(name, reference)| (format!("spec.outputs[{n}].{name}"), reference))
    });
    let named = references.filter_map(|(path, reference)| one(path, reference, policy));
    named.chain(ambient(subject, policy)).collect()
}

/// Credentials that no reference names come from the environment of the service too.
fn ambient(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    if policy.secret_sources.iter().any(|one| one == "env") {
        return Vec::new();
    }
    let outputs = subject.spec.outputs.iter().enumerate();
    let unnamed = outputs.filter(|(_, output)| matches!(output, Output::S3(s3) if s3.access_key.is_none()));
    let allowed = format!("a reference to {} (policy.secret_sources)", listed(&policy.secret_sources));
    let violation = |n| Violation::new(NAME, format!("spec.outputs[{n}].s3.accessKey"), "(absent)", allowed.clone());
    unnamed.map(|(n, _)| violation(n)).collect()
}

fn one(path: String, reference: &SecretReference, policy: &Policy) -> Option<Violation> {
    let (source, file) = match reference {
        SecretReference::Environment(_) => ("env", None),
        SecretReference::File(file) => ("file", Some(file)),
    };
    if !policy.secret_sources.iter().any(|one| one == source) {
        let allowed = format!("a reference to {} (policy.secret_sources)", listed(&policy.secret_sources));
        return Some(Violation::new(NAME, path, reference, allowed));
    }
    let outside = |file: &String| !policy.secret_folders.iter().any(|folder| is_below(file, folder));
    if !policy.secret_folders.is_empty() && file.is_some_and(outside) {
        let allowed = format!("a file below {} (policy.secret_folders)", listed(&policy.secret_folders));
        return Some(Violation::new(NAME, path, reference, allowed));
    }
    None
}

/// Whether a file lies below a folder, by whole names: `/run/secrets-of-others` is not below `/run/secrets`. The spec has no
/// `..` in it, its reader sees to that.
fn is_below(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::broken, *};
    use serde_json::{Value, json};

    fn spec(url: &str) -> Value {
        json!({ "outputs": [{ "sqlite": {} }, { "postgres": { "url": url } }] })
    }

    #[test]
    fn secrets_come_from_where_secrets_may_lie() {
        let none = [] as [&str; 0];
        let files = Policy {
            secret_sources: vec!["file".to_owned()],
            secret_folders: vec!["/run/secrets/".to_owned()],
            ..Policy::default()
        };
        assert_eq!(broken(&spec("env:DATABASE"), &Policy::default()), none);
        assert_eq!(broken(&spec("file:/anywhere/db"), &Policy::default()), none);
        assert_eq!(broken(&spec("env:DATABASE"), &files), [NAME]);
        assert_eq!(broken(&spec("file:/run/secrets/db"), &files), none);
        assert_eq!(broken(&spec("file:/run/secrets-of-others/db"), &files), [NAME]);
        assert_eq!(broken(&spec("file:/etc/shadow"), &files), [NAME]);
        let keys = |access: &str, secret: &str| json!({ "outputs": [{ "s3": { "bucket": "abc", "accessKey": access, "secretKey": secret } }] });
        let ambient = json!({ "outputs": [{ "s3": { "bucket": "abc" } }] });
        assert_eq!(broken(&ambient, &Policy::default()), none);
        assert_eq!(broken(&ambient, &files), [NAME]);
        assert_eq!(broken(&keys("file:/run/secrets/a", "file:/run/secrets/b"), &files), none);
        assert_eq!(broken(&keys("env:A", "file:/run/secrets/b"), &files), [NAME]);
        assert_eq!(broken(&keys("file:/run/secrets/a", "file:/etc/shadow"), &files), [NAME]);
    }
}
