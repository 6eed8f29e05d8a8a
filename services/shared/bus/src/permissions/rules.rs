//! Allow and deny lists as the broker reads them: a subject is allowed if it matches an allowed pattern and no denied one.

use serde::Serialize;

/// One direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// What is allowed.
    pub allow: Vec<String>,
    /// What is not, although it matches.
    pub deny: Vec<String>,
}

/// What a principal may publish and subscribe to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    /// Publishing.
    pub publish: Rules,
    /// Subscribing.
    pub subscribe: Rules,
    /// Whether it may answer a request where the requester wants the answer, once for each.
    pub respond: bool,
}

impl Permissions {
    pub(super) fn say(&mut self, pattern: impl Into<String>) {
        add(&mut self.publish.allow, pattern.into());
    }

    pub(super) fn never_say(&mut self, pattern: impl Into<String>) {
        add(&mut self.publish.deny, pattern.into());
    }

    /// Allows what was denied so far under exactly this pattern.
    pub(super) fn say_after_all(&mut self, pattern: impl Into<String>) {
        let pattern = pattern.into();
        self.publish.deny.retain(|denied| *denied != pattern);
        self.say(pattern);
    }

    pub(super) fn hear(&mut self, pattern: impl Into<String>) {
        add(&mut self.subscribe.allow, pattern.into());
    }

    pub(super) const fn may_respond(&mut self) {
        self.respond = true;
    }

    /// Whether it may publish to a subject.
    #[must_use]
    pub fn may_say(&self, subject: &str) -> bool {
        self.publish.permit(subject)
    }

    /// Whether it may subscribe to a subject.
    #[must_use]
    pub fn may_hear(&self, subject: &str) -> bool {
        self.subscribe.permit(subject)
    }
}

impl Rules {
    fn permit(&self, subject: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, subject));
        any(&self.allow) && !any(&self.deny)
    }
}

fn add(patterns: &mut Vec<String>, pattern: String) {
    if !patterns.contains(&pattern) {
        patterns.push(pattern);
    }
}

/// Whether a subject matches a pattern: `*` is one token, `>` at the end one or more.
fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_whole_tokens() {
        assert!(matches("a.*.c", "a.b.c") && matches("a.>", "a.b.c") && matches("a", "a"));
        assert!(!matches("a.>", "a") && !matches("a.*", "a.b.c") && !matches("a.b-*", "a.b-c") && !matches("a.b", "a"));
    }
}
