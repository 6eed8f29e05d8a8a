//! The key of a deployment: when one is made, when one is only made known again, and how it is written.
//!
//! A deployment has one key for all its revisions. Its text stands in a file that its owner takes it from; what the mesh keeps
//! is the digest. The file is written first, so a crash between the two leaves a key that can still be made known, never one
//! that is good and that nobody knows.

use slipway_kernel::{Deployment, DeploymentId};

/// What a key begins with, so that a person and a scanner of leaked secrets recognise one.
pub const PREFIX: &str = "slw_";
/// Random bytes in a key: as many as the digest that stands for it.
pub const RANDOM_BYTES: usize = 32;
/// How many characters 32 bytes take in base64url without padding.
const RANDOM_TEXT: usize = 43;

/// What is to be done about the key of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The spec wants none. One that is there stays: an older generation that is gone back to may want it.
    NotWanted,
    /// It is known, and either its file is there or its owner has taken it away.
    Keep,
    /// The file is there and the mesh has lost the digest: make the same key known again, so that its bearers are served.
    Announce,
    /// There is none, or the file holds one that somebody has taken back.
    Make,
}

/// What to do, given the digests the mesh knows and the digest of the key in the file.
#[must_use]
pub fn step(wanted: bool, known: &[String], file: Option<&str>) -> Step {
    if !wanted {
        return Step::NotWanted;
    }
    match (known.is_empty(), file) {
        (true, None) => Step::Make,
        (true, Some(_)) => Step::Announce,
        (false, None) => Step::Keep,
        (false, Some(digest)) if known.iter().any(|one| one == digest) => Step::Keep,
        // Never back to life what was taken back.
        (false, Some(_)) => Step::Make,
    }
}

/// The most keys of a deployment. Each caller's own one, for as many callers as an operator tells apart by hand.
const MOST: usize = 64;

/// Whether an operator who asks is given one more key of a deployment that has `known` of them.
///
/// # Errors
/// Why not.
pub fn issuable(id: &DeploymentId, deployment: Option<&Deployment>, known: usize) -> Result<(), String> {
    let newest = deployment.and_then(|deployment| deployment.newest());
    let (Some(deployment), Some(newest)) = (deployment, newest) else {
        return Err(format!("there is no deployment {id}"));
    };
    if deployment.is_retiring(newest.generation) {
        return Err(format!("{id} is retired, or about to be"));
    }
    if !newest.spec().access.api_keys {
        return Err(format!("spec.access.apiKeys of {id} is false: nobody is let in by a key"));
    }
    if known >= MOST {
        return Err(format!("{id} has {known} keys, at most {MOST}; take back one that nobody needs"));
    }
    Ok(())
}

/// Whether a text has the form of a key.
#[must_use]
pub fn is_key(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == RANDOM_TEXT && rest.bytes().all(inner))
}

/// The name of a key, from its digest: the same key has the same name, however often it is made known.
#[must_use]
pub fn name(digest: &str) -> String {
    // 48 bits tell the few keys of one deployment apart.
    format!("key-{}", digest.get(..12).unwrap_or(digest))
}

/// As whom the bearer of a key is known.
#[must_use]
pub fn principal(name: &str) -> String {
    format!("api-key:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_has_its_step() {
        let known = ["aa".to_owned(), "bb".to_owned()];
        for (wanted, known, file, expected) in [
            (true, &[] as &[String], None, Step::Make),
            (true, &[], Some("aa"), Step::Announce),
            (true, &known, None, Step::Keep),
            (true, &known, Some("bb"), Step::Keep),
            (true, &known, Some("cc"), Step::Make),
            (false, &[], None, Step::NotWanted),
            (false, &known, Some("cc"), Step::NotWanted),
        ] {
            assert_eq!(step(wanted, known, file), expected, "{wanted} {known:?} {file:?}");
        }
    }

    #[test]
    fn doing_what_is_to_be_done_leaves_nothing_to_do() {
        for file in [None, Some("aa"), Some("cc")] {
            for known in [Vec::new(), vec!["aa".to_owned()]] {
                let (mut known, mut file) = (known, file);
                match step(true, &known, file) {
                    Step::Make => {
                        file = Some("new");
                        known.push("new".to_owned());
                    }
                    Step::Announce => known.extend(file.map(str::to_owned)),
                    Step::Keep | Step::NotWanted => {}
                }
                assert_eq!(step(true, &known, file), Step::Keep);
            }
        }
    }

    #[test]
    fn a_crash_after_the_file_and_before_the_record_loses_no_key() {
        assert_eq!(step(true, &[], None), Step::Make);
        // The file was written, the record was not.
        assert_eq!(step(true, &[], Some("new")), Step::Announce);
    }

    #[test]
    fn a_key_is_issued_for_what_is_there_and_wants_keys() {
        use crate::testing::{History, id};
        let refused =
            |history: &History, known| issuable(&id(), Some(&history.fold()), known).err().unwrap_or_default();
        let wanted = History::new().requested(1);
        assert_eq!(refused(&wanted, MOST - 1), "");
        assert!(refused(&wanted, MOST).contains("at most 64"));
        assert!(refused(&History::new(), 0).contains("there is no deployment"));
        assert!(issuable(&id(), None, 0).unwrap_err().contains("there is no deployment"));
        assert!(refused(&wanted.clone().retire_requested(1), 0).contains("retired"));
        let without = serde_json::json!({ "access": { "apiKeys": false, "anonymous": true } });
        assert!(refused(&History::new().requested_as(1, &without), 0).contains("spec.access.apiKeys"));
    }

    #[test]
    fn the_form_of_a_key_is_exact() {
        let key = format!("{PREFIX}{}", "aZ09-_a".repeat(7).get(..43).unwrap());
        assert!(is_key(&key));
        for text in ["", "slw_", &key[1..], &key[..46], &format!("{key}a"), &key.replace('Z', "+"), &format!("{key}\n")]
        {
            assert!(!is_key(text), "{text:?}");
        }
        assert_eq!(name(&"ab".repeat(32)), "key-abababababab");
        assert_eq!(principal("key-ab"), "api-key:key-ab");
    }
}
