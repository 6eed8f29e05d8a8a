//! The authority's files where somebody else keeps them: which are to be added and which may go, as data.

use super::{
    AuthorityError,
    certificate::{Signer, make_authority},
    store::{made_in, names, read},
};
use crate::{
    config::AuthorityConfig,
    domain::authority::{Lifetimes, Term, standing},
};
use slipway_kernel::{Span, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

/// What is to become of the files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// New ones by name, with keys among them.
    pub add: BTreeMap<String, String>,
    /// Those of which nothing lives any more.
    pub remove: BTreeSet<String>,
}

impl Renewal {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added: Vec<&String> = self.add.keys().collect();
        f.debug_struct("Renewal").field("add", &added).field("remove", &self.remove).finish()
    }
}

/// What is to become of `files` now, so that there is always an authority to sign with and its successor is known before it signs: the
/// first one is made at once, the next when two thirds of a life are over. Called again it finds nothing to do.
///
/// # Errors
/// When what is in the files cannot be used: nothing is replaced that somebody may still need.
pub fn renew(
    files: &BTreeMap<String, String>,
    now: Timestamp,
    config: &AuthorityConfig,
    identity: Span,
) -> Result<Renewal, AuthorityError> {
    let lifetimes = Lifetimes { authority: config.lifetime.0, identity: identity.0, settle: config.settle.0 };
    let (seconds, terms): (Vec<u64>, Vec<Term>) = signers(files)?.into_iter().unzip();
    let standing = standing(&terms, now, &lifetimes);
    let mut renewal = Renewal::default();
    let is_needed = |n: usize| standing.signing == Some(n) || standing.trusted.contains(&n);
    for (n, made) in seconds.iter().enumerate() {
        if !is_needed(n) {
            renewal.remove.extend(names(*made));
        }
    }
    if standing.make_next {
        let made = make_authority(now, config.lifetime.0)?;
        let [certificate, key] = names(now.0 / 1_000);
        renewal.add.extend([(certificate, made.pem), (key, made.key_pem)]);
    }
    Ok(renewal)
}

/// Those that are there, oldest first.
fn signers(files: &BTreeMap<String, String>) -> Result<Vec<(u64, Term)>, AuthorityError> {
    let mut found = Vec::new();
    for (name, pem) in files {
        let Some(seconds) = made_in(name) else { continue };
        let [_, key] = names(seconds);
        let Some(key_pem) = files.get(&key) else { continue };
        let Signer { term, .. } = read(Path::new(name), pem, key_pem)?;
        found.push((seconds, term));
    }
    found.sort_unstable_by_key(|(seconds, _)| *seconds);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn config() -> AuthorityConfig {
        AuthorityConfig { lifetime: Span(DAY * 30), ..AuthorityConfig::default() }
    }

    fn renewed(files: &mut BTreeMap<String, String>, now: Timestamp) -> Renewal {
        let renewal = renew(files, now, &config(), Span(DAY)).unwrap();
        files.retain(|name, _| !renewal.remove.contains(name));
        files.extend(renewal.add.clone());
        renewal
    }

    #[test]
    fn the_first_is_made_at_once_and_then_there_is_nothing_to_do() {
        let mut files = BTreeMap::new();
        let first = renewed(&mut files, NOW);
        assert_eq!(first.add.keys().collect::<Vec<_>>(), ["1800000000.key", "1800000000.pem"]);
        assert!(renewed(&mut files, NOW).is_empty() && renewed(&mut files, NOW.after(DAY * 19)).is_empty());
        assert!(!format!("{first:?}").contains("PRIVATE"));
    }

    #[test]
    fn its_successor_is_made_in_time_and_it_goes_when_nothing_of_it_lives() {
        let mut files = BTreeMap::new();
        renewed(&mut files, NOW);
        let next = renewed(&mut files, NOW.after(DAY * 20));
        assert_eq!((next.add.len(), next.remove.len(), files.len()), (2, 0, 4));
        let last = renewed(&mut files, NOW.after(DAY * 20).after(config().settle.0).after(DAY));
        assert_eq!(last.remove.iter().collect::<Vec<_>>(), ["1800000000.key", "1800000000.pem"]);
        assert!(last.add.is_empty() && files.len() == 2);
    }

    #[test]
    fn what_cannot_be_used_is_an_error_and_not_replaced() {
        let mut files = BTreeMap::new();
        renewed(&mut files, NOW);
        files.insert("1800000000.pem".to_owned(), "no certificate".to_owned());
        assert!(renew(&files, NOW, &config(), Span(DAY)).is_err());
        // A key whose certificate was never written has signed nothing.
        files.remove("1800000000.pem");
        assert_eq!(renewed(&mut files, NOW.after(DAY)).add.len(), 2);
    }
}
