//! The log's own words, for people who look at a resource.

use slipway_kernel::{Answer, Fact, GenerationState};

/// The longest sentence that a resource or an event bears: an event's note has 1,024 bytes.
const LONGEST: usize = 1_000;

/// `rolled-back` as a reason is written: `RolledBack`.
pub(super) fn camel(word: &str) -> String {
    let mut capital = true;
    let mut out = String::with_capacity(word.len());
    for letter in word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-') {
        match (letter, capital) {
            ('-', _) => capital = true,
            (letter, true) => {
                out.push(letter.to_ascii_uppercase());
                capital = false;
            }
            (letter, false) => out.push(letter),
        }
    }
    out
}

/// At most as long as an event's note may be.
pub(super) fn cut(text: &str) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST).last();
    let end = end.unwrap_or(0);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// A fact in one sentence.
pub(super) fn sentence(fact: &Fact) -> String {
    let revision = fact.key.revision_id();
    let said = match &fact.answer {
        Answer::Requested(_) => format!("generation {} is demanded by {}", fact.key.generation, fact.actor),
        Answer::InfrastructureChosen(chosen) => chosen.reason.clone(),
        Answer::PlatformSelected(selected) => format!("{}: {}", selected.platform, selected.reason),
        Answer::Shifted(shifted) => format!("{revision} has {} % of the traffic", shifted.percent),
        Answer::Released(_) => format!("{revision} is released: all of the traffic is on it"),
        Answer::RolledBack(back) => format!("the traffic is back on {}: {}", back.to, back.reason),
        Answer::Abandoned(abandoned) => format!("{}; {}", abandoned.reason, abandoned.advice),
        Answer::Superseded(superseded) => format!("generation {} took its place", superseded.by),
        Answer::Retired(_) => "everything of it is gone".to_owned(),
        Answer::RetireRequested(command) | Answer::Paused(command) | Answer::Resumed(command) => {
            said_by(&fact.actor, fact.answer.name(), &command.reason)
        }
        Answer::RollbackRequested(command) => said_by(&fact.actor, fact.answer.name(), &command.reason),
        answer => match answer.findings().first() {
            Some(finding) => format!("{revision} {}: {}: {}", answer.name(), finding.kind, finding.message),
            None if fact.key.revision.0 == 0 => answer.name().to_owned(),
            None => format!("{revision} {}", answer.name()),
        },
    };
    cut(&said)
}

fn said_by(actor: &str, what: &str, why: &str) -> String {
    if why.is_empty() { format!("{what} by {actor}") } else { format!("{what} by {actor}: {why}") }
}

/// The last fact of some generations, by the log's clock.
pub(super) fn last<'a>(reach: &[&'a GenerationState]) -> Option<&'a Fact> {
    let facts = reach.iter().flat_map(|generation| generation.facts());
    facts.map(|fact| &**fact).max_by_key(|fact: &&Fact| (fact.at, fact.key.order()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_word_in_capitals() {
        assert_eq!(camel("rolled-back"), "RolledBack");
        assert_eq!(camel("invalid-spec"), "InvalidSpec");
        assert_eq!(camel("released"), "Released");
    }

    #[test]
    fn a_sentence_has_an_end_that_is_a_letter() {
        let long = cut(&"ä".repeat(2_000));
        assert!(long.len() <= 1_024 && long.ends_with("ä…"), "{}", long.len());
        assert_eq!(cut("short"), "short");
    }
}
