//! How far a stack is, told from the lines of the program: what a person sees while it is made.

use super::events::{Action, Event};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Most resources that are told one by one. A program changes ten at once; the value travels with each renewal of a lease.
const MOST_TOLD: usize = 10;

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Resources that are to be changed.
    pub planned: u32,
    /// Those that are done.
    pub done: u32,
    /// Those whose change failed.
    pub failed: u32,
    /// What is under way, by address.
    pub under_way: BTreeMap<String, UnderWay>,
}

/// A change that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderWay {
    /// What is done to the resource.
    pub action: Action,
    /// For how many seconds, as the program says it each ten.
    pub seconds: f64,
}

impl Progress {
    /// What a line changes of it. Whether anything did.
    pub fn hear(&mut self, event: &Event) -> bool {
        match event {
            // Two plans may follow each other; the figures are those of the last.
            Event::Summary(summary) if summary.is_plan => {
                *self = Self { planned: summary.add + summary.change + summary.remove, ..Self::default() };
            }
            Event::Begun { address, action } if self.under_way.len() < MOST_TOLD => {
                self.under_way.insert(address.clone(), UnderWay { action: *action, seconds: 0.0 });
            }
            Event::Going { address, seconds } => match self.under_way.get_mut(address) {
                Some(under_way) => under_way.seconds = *seconds,
                None => return false,
            },
            Event::Done { address, .. } => {
                self.under_way.remove(address);
                self.done += 1;
            }
            Event::Failed { address, .. } => {
                self.under_way.remove(address);
                self.failed += 1;
            }
            _ => return false,
        }
        true
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} resources done", self.done, self.planned)?;
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        for (address, UnderWay { action, seconds }) in &self.under_way {
            write!(f, "; {address} is being {action} for {seconds:.0} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Summary;
    use super::*;

    fn begun(address: &str) -> Event {
        Event::Begun { address: address.into(), action: Action::Create }
    }

    fn done(address: &str) -> Event {
        Event::Done { address: address.into(), action: Action::Create, seconds: 12.0 }
    }

    #[test]
    fn it_is_told_what_is_done_and_what_is_under_way() {
        let mut progress = Progress::default();
        let summary = Summary { add: 2, change: 1, remove: 0, is_plan: true };
        for event in [Event::Summary(summary), begun("a.a"), done("a.a"), begun("a.b"), begun("a.c")] {
            assert!(progress.hear(&event), "{event:?}");
        }
        progress.hear(&Event::Going { address: "a.b".into(), seconds: 10.2 });
        progress.hear(&Event::Failed { address: "a.c".into(), action: Action::Create, seconds: 3.0 });
        assert_eq!(progress.to_string(), "1 of 3 resources done, 1 failed; a.b is being made for 10 s");
        assert!(!progress.hear(&Event::Outputs(serde_json::Map::new())));
        let told = serde_json::to_value(&progress).unwrap();
        assert_eq!(serde_json::from_value::<Progress>(told).unwrap(), progress);
    }

    #[test]
    fn of_many_only_some_are_told_one_by_one_and_all_are_counted() {
        let mut progress = Progress::default();
        for n in 0..50 {
            progress.hear(&begun(&format!("a.b[{n}]")));
        }
        assert_eq!(progress.under_way.len(), MOST_TOLD);
        for n in 0..50 {
            progress.hear(&done(&format!("a.b[{n}]")));
        }
        assert_eq!((progress.done, progress.under_way.len()), (50, 0));
    }
}
