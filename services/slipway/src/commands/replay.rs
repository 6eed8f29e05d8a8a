//! `slipway explain --with`: where it runs, chosen again with other prices.

use super::explain::candidates;
use crate::{
    cli::Global,
    failure::{Failure, chain},
    output::{Mark, heading, line},
};
use slipway_kernel::{GenerationState, InfrastructureChosen};
use slipway_provisioner::Replayed;
use std::path::Path;

pub(super) async fn replay(
    prices: &Path,
    chosen: &InfrastructureChosen,
    generation: &GenerationState,
    global: &Global,
) -> Result<Replayed, Failure> {
    let replayed = slipway_provisioner::replay(&global.data, generation.spec(), chosen, prices).await;
    replayed.map_err(|error| Failure::input(chain(&error)))
}

pub(super) fn tell(old: &InfrastructureChosen, Replayed { with, built_in }: &Replayed) {
    let named = |chosen: &InfrastructureChosen| match chosen.target.as_str() {
        "" => "nowhere".to_owned(),
        target => target.to_owned(),
    };
    let (was, is) = (named(old), named(with));
    line(format!("\n{}", heading("Where it would run with these prices")));
    let compared = if is == was { format!("{is} all the same") } else { format!("{is} instead of {was}") };
    line(format!("  {compared}: {}", with.reason));
    candidates(with.candidates.iter().map(|c| (&c.target, c.score, &c.vetoes, &c.reasons)));
    if built_in.target != old.target {
        line(format!(
            "  {} with the prices that are built in it would be {} here, and was {was}: this place, its settings or its prices differ from those of the choice",
            Mark::Note.sign(),
            named(built_in)
        ));
    }
}
