//! `slipway results`: what is kept in the embedded database.

use super::id;
use crate::{
    cli::{Format, Global, ResultsArgs},
    context::session,
    failure::Failure,
    output,
};
use slipway_bus::{Bus, SinkAnswer, SinkQuery};
use slipway_kernel::DeploymentId;
use std::time::Duration;

/// A count over a large table reads its index.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Rows shown to a person.
const SHOWN: usize = 10;

pub(crate) async fn run(args: ResultsArgs, global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let answer = ask(&bus, &id(global, &args.name), args.correlation).await?;
    if global.output == Format::Json {
        output::json(&answer);
        return Ok(());
    }
    output::line(format!("{} result(s), {} on their way", answer.total, answer.pending));
    let mut table = output::table(["request", "revision", "trace", "outcome"]);
    for row in answer.rows.iter().take(SHOWN) {
        let outcome = if row.ok { "result" } else { "failure" };
        table.add_row([&row.request_id, &row.revision.to_string(), &row.trace_id, outcome]);
    }
    output::line(table);
    Ok(())
}

/// The rows of a deployment in the embedded database.
pub(crate) async fn ask(bus: &Bus, id: &DeploymentId, correlation: Option<String>) -> Result<SinkAnswer, Failure> {
    let query = SinkQuery { correlation, probe: false, ..SinkQuery::of_run(id, "") };
    bus.sinks().ask(&query, TIMEOUT).await.map_err(|error| {
        Failure::unreachable(crate::failure::chain(&error))
            .hint("results in PostgreSQL or files are read there, not here")
    })
}
