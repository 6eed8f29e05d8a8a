//! Looks for every answered request in the probe sinks, and for its trace there.

use super::Tools;
use crate::{
    domain::judge::{
        Judged,
        sinks::{Found, compare, judge},
        traces,
    },
    error::told,
    world::RowPage,
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Pauses between looks, doubled up to the second: results are normally in the sinks within tens of milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The most pages that are read, whatever a page holds: a bound against an answer that never ends.
const MAX_PAGES: usize = 1_000;

pub(crate) async fn sinks(tools: &Tools) -> Vec<Judged> {
    let kept = tools.followed.kept();
    let answered: BTreeSet<String> = kept.answered.iter().map(|traced| traced.request_id.clone()).collect();
    let mut found = Found { answered, untracked: kept.untracked, unknown: kept.unknown, rows: Vec::new(), pending: 0 };
    let failed = look(tools, &mut found).await.err();
    let rows = match &failed {
        None => Ok(&found),
        Some(reason) => Err(reason.as_str()),
    };
    let revision = tools.assignment.revision;
    vec![judge(rows, revision), traces::judge(&kept.answered, rows.map(|found| found.rows.as_slice()))]
}

/// Reads the rows until every answered request is there or the time is over. A failure to read counts only when nothing could
/// be read at all. Of what still waits for the sink-writer the least ever seen counts: once nothing waits, all that was recorded
/// before is in the sinks, and other traffic goes on being recorded.
async fn look(tools: &Tools, found: &mut Found) -> Result<(), String> {
    let begin = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut last = Err("not asked".to_owned());
    let mut least_pending = u64::MAX;
    loop {
        match read(tools, found).await {
            Ok(()) => {
                last = Ok(());
                least_pending = least_pending.min(found.pending);
                found.pending = least_pending;
                if compare(found, tools.assignment.revision).missing.is_empty() {
                    return last;
                }
            }
            Err(reason) if last.is_err() => last = Err(reason),
            Err(reason) => tracing::debug!(reason, "the sinks could not be asked again"),
        }
        if begin.elapsed() + pause > tools.bounds.sinks_within.0 {
            return last;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn read(tools: &Tools, found: &mut Found) -> Result<(), String> {
    let mut rows = Vec::new();
    let mut next = Some(0);
    let mut pending = None;
    for _ in 0..MAX_PAGES {
        let Some(offset) = next else {
            break;
        };
        let page = tools.world.rows(&tools.assignment.deployment, &tools.run, offset).await;
        let RowPage { rows: more, next: after, pending: waiting } = page.map_err(|error| told(&error))?;
        rows.extend(more);
        next = after;
        // The first page was read after it was counted what waits, so only its count says that the rows are whole.
        pending.get_or_insert(waiting);
    }
    (found.rows, found.pending) = (rows, pending.unwrap_or(0));
    Ok(())
}
