//! Regimes to comply with. `air-gapped` is one of them: no part may depend on a network outside.

use super::{Change, Demands, Offer, Veto, veto as excluded};

/// Excludes what lacks a regime.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let lacking = |regime: &&String| !offer.compliance.contains(regime);
    let missing: Vec<&str> = demands.compliance.iter().filter(lacking).map(String::as_str).collect();
    (!missing.is_empty())
        .then(|| excluded("compliance", format!("not attested here: {}; {}", missing.join(", "), offer.attest)))
}

/// Without the regimes that are lacking.
pub fn relax(offer: &Offer, demands: &mut Demands) -> Option<Change> {
    let from = demands.compliance.join(", ");
    demands.compliance.retain(|regime| offer.compliance.contains(regime));
    let to = if demands.compliance.is_empty() { "none".to_owned() } else { demands.compliance.join(", ") };
    Some(Change::new("spec.infrastructure.compliance", from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        choose::candidates::{aws, local},
        demands::tests::modest,
        surroundings::tests::small_machine,
    };

    #[test]
    fn a_cloud_is_never_air_gapped_and_a_machine_complies_with_what_its_owner_says() {
        let demands = Demands { compliance: vec!["air-gapped".into(), "gdpr".into()], ..modest() };
        let reason = |offer: &Offer| veto(offer, &demands).unwrap().reason;
        let mut here = small_machine();
        assert!(reason(&aws::offer(&demands, &here)).contains("not attested here: air-gapped;"));
        assert!(reason(&local::offer(&demands, &here)).contains("not attested here: gdpr;"));
        here.local.compliance.push("gdpr".into());
        assert_eq!(veto(&local::offer(&demands, &here), &demands), None);
    }
}
