//! `slipway log`: the facts of a deployment, and the log against its ledger.

use super::id;
use crate::{
    cli::{Format, Global, LogArgs},
    context::session,
    failure::Failure,
    logline::{LogLine, time},
    output::{self, Mark},
    steps,
};
use slipway_bus::Content;
use slipway_kernel::Fact;
use std::time::Duration;

pub(crate) async fn run(args: LogArgs, global: &Global) -> Result<(), Failure> {
    let Some(name) = args.name else { return Err(Failure::input("which deployment? `slipway log NAME`")) };
    let id = id(global, &name);
    let (_, bus) = session(global).await?;
    let mut entries = bus.log().read(&id).await?;
    if entries.is_empty() {
        return Err(Failure::input(format!("there are no facts of {id}")).hint("`slipway status` lists what there is"));
    }
    entries.sort_by_key(|entry| entry.sequence);
    for entry in entries {
        match (entry.content, global.output) {
            (Content::Fact(fact), Format::Json) => output::json(&LogLine::of(&fact)),
            (Content::Fact(fact), Format::Human) => human(&fact),
            // A fact this version cannot read is no line of the log for programs; people are told.
            (Content::UnknownType(_) | Content::SetAside(_), Format::Json) => {}
            (Content::UnknownType(kind), Format::Human) => {
                output::line(format!(
                    "{} {} has a type unknown to this version: {kind}",
                    Mark::Note.sign(),
                    entry.subject
                ));
            }
            (Content::SetAside(aside), Format::Human) => {
                output::line(format!("{} {} is set aside: {}", Mark::Bad.sign(), aside.subject, aside.reason));
            }
        }
    }
    Ok(())
}

/// A fact as lines for a person.
pub(crate) fn human(fact: &Fact) {
    let step = steps::describe(fact);
    output::line(format!("{} {}  {:<44} {}", step.mark.sign(), time(fact.at), fact.key.to_string(), step.text));
    for line in step.more {
        output::line(format!("{:30}{line}", ""));
    }
}

/// How long a verification may take: every fact is read, a million take about ten seconds.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) async fn verify(global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let verdict = bus.ledger().verify(VERIFY_TIMEOUT).await?;
    if global.output == Format::Json {
        output::json(&verdict);
    } else {
        output::line(format!("{} facts in the log, {} in the ledger", verdict.facts, verdict.recorded));
        for damage in &verdict.damages {
            output::line(format!("{} {}: {}", Mark::Bad.sign(), damage.subject, damage.problem));
        }
    }
    if verdict.damages.is_empty() {
        if global.output == Format::Human {
            output::line(format!("{} every fact is there, as it was written", Mark::Good.sign()));
        }
        return Ok(());
    }
    Err(Failure::outcome(format!("{} fact(s) are lost or altered", verdict.damages.len())).hint(
        "nothing is decided on these deployments until a person has looked; the ledger keeps a copy of each fact",
    ))
}
