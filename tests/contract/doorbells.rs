//! A service is rung for the slots that concern it and for no other, so those must be all that can give it something to do.

use crate::history::{SLOTS, grow};
use proptest::{prelude::*, test_runner::TestRunner};
use slipway_kernel::{Deployment, Due, Service, Slot, Timestamp};
use std::{cell::RefCell, collections::BTreeSet, fmt::Debug};

/// Services and slots.
type Table = BTreeSet<(Service, Slot)>;

/// The services that are rung for some slots only, and what is due for them.
const SELECTIVE: [Service; 7] = [
    Service::Provisioner,
    Service::PlatformSelector,
    Service::Ingress,
    Service::SinkWriter,
    Service::Observability,
    Service::Security,
    Service::Validator,
];

/// What is due, in words: the services' duties have different types.
fn due(service: Service, deployment: &Deployment, now: Timestamp) -> Option<String> {
    fn told<D: Debug>(due: Due<D>) -> Option<String> {
        match due {
            Due::Nothing => None,
            Due::Wait(until) => Some(format!("wait until {}", until.0)),
            Due::Now(duty) => Some(format!("{duty:?}")),
        }
    }
    let of_the_four = |slot| told(deployment.step(service, slot, now));
    match service {
        Service::Provisioner => told(slipway_provisioner::domain::due::due(deployment, now)),
        Service::PlatformSelector => told(slipway_platform_selector::domain::due::due(deployment, now)),
        Service::Ingress => of_the_four(Slot::Ingress),
        Service::SinkWriter => of_the_four(Slot::Outputs),
        Service::Observability => of_the_four(Slot::Observability),
        Service::Security => of_the_four(Slot::Security),
        Service::Validator => told(slipway_validator::domain::due::due(deployment, now)),
        Service::Controller | Service::InferenceWorker => panic!("{service} hears everything or nothing"),
    }
}

/// Which facts gave which service something to do, or another time to look.
fn moved(choices: &[u32]) -> Table {
    let mut moved = Table::new();
    for growth in grow(choices) {
        // At the moment, and when every pause is over.
        for now in [growth.at, Timestamp(u64::MAX / 2)] {
            for service in SELECTIVE {
                let after = due(service, &growth.after, now);
                if after.is_some() && after != due(service, &growth.before, now) {
                    moved.insert((service, growth.slot));
                }
            }
        }
    }
    moved
}

#[test]
fn a_service_is_rung_for_all_that_gives_it_something_to_do_and_for_nothing_else() {
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let seen = RefCell::new(Table::new());
    let choices = proptest::collection::vec(any::<u32>(), 0..240);
    let held = runner.run(&choices, |choices| {
        for (service, slot) in moved(&choices) {
            prop_assert!(slot.concerns(service), "{slot} gives {service} something to do, and its doorbell is silent");
            let slot = if matches!(slot, Slot::Command(_)) { Slot::Command(0) } else { slot };
            seen.borrow_mut().insert((service, slot));
        }
        Ok(())
    });
    held.unwrap();
    let all = SELECTIVE.into_iter().flat_map(|service| SLOTS.map(|slot| (service, slot)));
    let rung: Table = all.filter(|(service, slot)| slot.concerns(*service)).collect();
    let needless: Vec<_> = rung.difference(&seen.borrow()).copied().collect();
    assert_eq!(needless, [], "rung, and never for anything");
}
