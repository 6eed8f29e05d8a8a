//! What is to be done, given what is there: a function of both, asked again until the answer is nothing.

use super::{
    InitError, broker, certificates,
    config::Config,
    keys,
    objects::{self, Change, Data, Everything, Found, Id, Object},
};
use slipway_kernel::Timestamp;
use slipway_security::renew;

/// The changes that can be made now. What depends on them is told the next time.
pub(super) fn changes(config: &Config, found: &Everything, now: Timestamp) -> Result<Vec<Change>, InitError> {
    let mut changes = Vec::new();
    let ring = keys::ring(config, found, &mut changes)?;
    keys::copy_for_workers(config, found, &mut changes)?;
    mesh_authority(config, found, now, &mut changes)?;
    if config.has_certificates() {
        broker_certificates(config, found, now, &mut changes)?;
    }
    // Both name every key.
    if let Some(ring) = ring {
        changes.extend(wanted(found, objects::identities(config), keys::identities(config, &ring)));
        let id = objects::broker_config(config);
        let there = found.get(&id).map(|found| &found.data);
        same_size(config, &id, there)?;
        changes.extend(wanted(found, id.clone(), broker::configuration(config, &ring, there)));
    }
    Ok(changes)
}

/// What makes an object hold this, if it does not.
fn wanted(found: &Everything, id: Id, data: Data) -> Option<Change> {
    let there = found.get(&id);
    let object = Object { id, data, is_immutable: false };
    match there {
        None => Some(Change::Create(object)),
        Some(there) if there.data == object.data => None,
        Some(Found { version, .. }) => Some(Change::Replace(object, version.clone())),
    }
}

/// A server by itself and one of a cluster keep their streams in different places: what was stored would be gone.
fn same_size(config: &Config, id: &Id, there: Option<&Data>) -> Result<(), InitError> {
    let Some(before) = there.and_then(broker::servers) else { return Ok(()) };
    let wanted = config.broker.servers;
    if wanted == 0 || (before == 1) == (wanted == 1) {
        return Ok(());
    }
    Err(InitError::Unusable {
        object: id.to_string(),
        problem: format!("is that of {before} server(s), and broker.servers is {wanted}"),
        advice: "one server cannot become a cluster with what it has stored, nor the other way round; install anew, or keep the number".to_owned(),
    })
}

fn mesh_authority(
    config: &Config,
    found: &Everything,
    now: Timestamp,
    changes: &mut Vec<Change>,
) -> Result<(), InitError> {
    let id = objects::authority(config);
    let mut files = found.get(&id).map(|found| found.data.clone()).unwrap_or_default();
    let terms = config.authority;
    let renewal = renew(&files, now, &terms.config(), terms.identity)?;
    files.retain(|name, _| !renewal.remove.contains(name));
    files.extend(renewal.add);
    changes.extend(wanted(found, id, files));
    Ok(())
}

fn broker_certificates(
    config: &Config,
    found: &Everything,
    now: Timestamp,
    changes: &mut Vec<Change>,
) -> Result<(), InitError> {
    let id = objects::broker_authority(config);
    let Some(authority) = found.get(&id) else {
        changes.push(Change::Create(Object { id, data: certificates::make_authority(now)?, is_immutable: true }));
        return Ok(());
    };
    let ca: Data =
        authority.data.get(objects::CA).map(|pem| (objects::CA.to_owned(), pem.clone())).into_iter().collect();
    for id in objects::broker_ca(config) {
        changes.extend(wanted(found, id, ca.clone()));
    }
    let (id, names) = (objects::broker_tls(config), broker::names(config));
    let there = found.get(&id);
    if there.is_none_or(|there| !certificates::is_good(&there.data, &authority.data, &names, now)) {
        changes.extend(wanted(found, id, certificates::make_server(&authority.data, &names, now)?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config::BrokerConfig;
    use slipway_bus::Principal;
    use slipway_kernel::Service;
    use std::collections::BTreeSet;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn config(servers: u32) -> Config {
        Config {
            name: "mesh".to_owned(),
            namespace: "slipway".to_owned(),
            workers_namespace: Some("models".to_owned()),
            broker: BrokerConfig { servers, ..BrokerConfig::default() },
            ..Config::default()
        }
    }

    fn apply(everything: &mut Everything, changes: Vec<Change>) {
        for change in changes {
            let (Change::Create(object) | Change::Replace(object, _)) = change;
            everything.insert(object.id, Found { data: object.data, version: "1".to_owned() });
        }
    }

    /// Everything after it was looked at until nothing was to be done.
    fn settled(config: &Config, mut everything: Everything, now: Timestamp) -> Everything {
        for _ in 0..5 {
            let changes = changes(config, &everything, now).unwrap();
            if changes.is_empty() {
                return everything;
            }
            apply(&mut everything, changes);
        }
        panic!("it does not end");
    }

    fn text<'a>(everything: &'a Everything, id: &Id, file: &str) -> &'a str {
        everything[id].data[file].as_str()
    }

    #[test]
    fn from_nothing_everything_is_made_in_three_rounds_and_then_nothing_more() {
        let config = config(3);
        let everything = settled(&config, Everything::new(), NOW);
        assert_eq!(everything.keys().collect::<BTreeSet<_>>(), objects::all(&config).iter().collect());
        assert!(changes(&config, &everything, NOW).unwrap().is_empty());
    }

    #[test]
    fn each_service_has_its_own_key_and_the_broker_knows_all_of_them() {
        let config = config(3);
        let everything = settled(&config, Everything::new(), NOW);
        let conf = text(&everything, &objects::broker_config(&config), "nats.conf");
        for principal in Principal::ALL {
            let id = objects::key(&config, principal);
            assert_eq!(everything[&id].data.len(), 1, "{principal}");
            let seed = text(&everything, &id, &format!("{principal}.nk"));
            let public = slipway_bus::keys::public_of(seed).unwrap();
            assert!(conf.contains(&public) && !conf.contains(seed), "{principal}");
        }
        assert!(conf.contains("nats-2.slipway-nats-headless.slipway.svc:6222") && conf.contains("verify: true"));
        let worker = objects::worker_key(&config).unwrap();
        assert_eq!(worker.to_string(), "Secret models/mesh-key-inference-worker");
        let own = objects::key(&config, Principal::Service(Service::InferenceWorker));
        assert_eq!(everything[&worker].data, everything[&own].data);
        let gate = text(&everything, &objects::identities(&config), "controller.toml");
        assert!(gate.contains("actor = \"operator\"") && gate.contains("verbs = [\"*\"]"), "{gate}");
    }

    #[test]
    fn settings_that_services_are_given_are_read_by_them() {
        let config = config(1);
        let everything = settled(&config, Everything::new(), NOW);
        let read = |file: &str| text(&everything, &objects::identities(&config), file).to_owned();
        let layers = |file: &str| slipway_runtime::Layers::new().toml(file, &read(file)).unwrap();
        let controller: slipway_controller::Config = layers("controller.toml").load().unwrap();
        assert_eq!(controller.gate.principals.len(), 2);
        let ingress: slipway_ingress::Config = layers("ingress.toml").load().unwrap();
        assert_eq!(ingress.auth.probe_keys.len(), 1);
    }

    #[test]
    fn what_is_there_stays_and_only_what_differs_is_written() {
        let config = config(1);
        let everything = settled(&config, Everything::new(), NOW);
        let mut older = everything.clone();
        let conf = objects::broker_config(&config);
        older.get_mut(&conf).unwrap().data.insert("nats.conf".to_owned(), "listen: \"0.0.0.0:4222\"\n".to_owned());
        let again = changes(&config, &older, NOW).unwrap();
        assert!(matches!(&again[..], [Change::Replace(object, _)] if object.id == conf), "{again:?}");
        let mended = settled(&config, older, NOW);
        for (id, found) in &everything {
            assert_eq!(found.data, mended[id].data, "{id}");
        }
    }

    #[test]
    fn a_client_that_is_added_gets_a_key_and_the_broker_is_told() {
        let one = config(1);
        let before = settled(&one, Everything::new(), NOW);
        let two = Config { clients: ["default.shop".parse().unwrap()].into(), ..one };
        let after = settled(&two, before.clone(), NOW);
        let client = two.clients.first().unwrap();
        let seed = text(&after, &objects::client_key(&two, client), "default.shop.nk");
        let public = slipway_bus::keys::public_of(seed).unwrap();
        assert!(text(&after, &objects::broker_config(&two), "nats.conf").contains(&public));
        let principal = objects::key(&two, Principal::Operator);
        assert_eq!(before[&principal].data, after[&principal].data);
    }

    #[test]
    fn certificates_and_the_authority_are_renewed_in_time_and_the_authoritys_key_is_nobodys() {
        let config = config(1);
        let everything = settled(&config, Everything::new(), NOW);
        let later = NOW.after(std::time::Duration::from_secs(250 * 86_400));
        let ids: BTreeSet<Id> = changes(&config, &everything, later)
            .unwrap()
            .into_iter()
            .map(|change| match change {
                Change::Create(object) | Change::Replace(object, _) => object.id,
            })
            .collect();
        assert_eq!(ids, [objects::authority(&config), objects::broker_tls(&config)].into());
        let tls = &everything[&objects::broker_tls(&config)].data;
        assert_eq!(tls.keys().collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
        assert!(!tls.values().any(|text| text == &everything[&objects::broker_authority(&config)].data["ca.key"]));
    }

    #[test]
    fn a_broker_does_not_change_between_one_server_and_a_cluster() {
        let everything = settled(&config(1), Everything::new(), NOW);
        let error = changes(&config(3), &everything, NOW).unwrap_err().to_string();
        assert!(error.contains("is that of 1 server(s), and broker.servers is 3"), "{error}");
        let everything = settled(&config(3), Everything::new(), NOW);
        assert!(changes(&config(1), &everything, NOW).is_err());
        assert!(changes(&config(5), &everything, NOW).is_ok());
    }

    #[test]
    fn a_broker_of_somebody_else_gets_its_users_from_us_and_nothing_else() {
        let config = config(0);
        let everything = settled(&config, Everything::new(), NOW);
        let data = &everything[&objects::broker_config(&config)].data;
        assert_eq!(data.keys().collect::<Vec<_>>(), ["authorization.conf"]);
        assert!(!everything.keys().any(|id| id.name.contains("broker-tls")));
    }

    #[test]
    fn what_is_no_key_is_named_and_not_replaced() {
        let config = config(1);
        let mut everything = settled(&config, Everything::new(), NOW);
        let id = objects::key(&config, Principal::Operator);
        everything.get_mut(&id).unwrap().data.insert("operator.nk".to_owned(), "x".to_owned());
        let error = changes(&config, &everything, NOW).unwrap_err().to_string();
        assert!(
            error.starts_with("Secret slipway/mesh-key-operator holds no nkey seed under `operator.nk`"),
            "{error}"
        );
    }
}
