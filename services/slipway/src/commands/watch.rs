//! `slipway watch`: facts as they are written.

use super::{id, log::human};
use crate::{
    cli::{Format, Global, WatchArgs},
    context::session,
    failure::Failure,
    logline::LogLine,
    output,
};
use slipway_bus::{Change, View};
use slipway_kernel::DeploymentId;
use std::collections::HashSet;

pub(crate) async fn run(args: WatchArgs, global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let view = bus.log().follow().await?;
    let wanted = args.name.map(|name| id(global, &name));
    let mut shown = HashSet::new();
    let mut changes = view.changes();
    for id in view.ids() {
        show(&view, &id, wanted.as_ref(), &mut shown, args.all, global.output);
    }
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Change::Deployment { id, .. } => show(&view, &id, wanted.as_ref(), &mut shown, true, global.output),
                Change::All => for id in view.ids() {
                    show(&view, &id, wanted.as_ref(), &mut shown, true, global.output);
                },
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

fn show(
    view: &View,
    id: &DeploymentId,
    wanted: Option<&DeploymentId>,
    shown: &mut HashSet<String>,
    print: bool,
    format: Format,
) {
    if wanted.is_some_and(|wanted| wanted != id) {
        return;
    }
    let mut facts = view.facts(id);
    facts.sort_by_key(|fact| fact.sequence);
    for fact in facts {
        if shown.insert(fact.key.to_string()) && print {
            match format {
                Format::Json => output::json(&LogLine::of(&fact)),
                Format::Human => human(&fact),
            }
        }
    }
}
