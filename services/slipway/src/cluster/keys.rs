//! The keys of the principals, each in a Secret of its own.

use super::{
    InitError,
    config::Config,
    objects::{self, Change, Everything, Found, Id, Object},
};
use slipway_bus::{
    Principal,
    keys::{self, KeyRing},
};
use slipway_kernel::{Namespace, Service};
use std::{collections::BTreeMap, fmt::Display, path::PathBuf};

/// Makes the keys that are missing; the ring of all, once there is none missing.
pub(super) fn ring(
    config: &Config,
    found: &Everything,
    changes: &mut Vec<Change>,
) -> Result<Option<KeyRing>, InitError> {
    let (mut public, mut clients) = (BTreeMap::new(), BTreeMap::new());
    let mut missing = false;
    for principal in Principal::ALL {
        match one(&objects::key(config, principal), &principal, found, changes)? {
            Some(key) => drop(public.insert(principal, key)),
            None => missing = true,
        }
    }
    for client in &config.clients {
        match one(&objects::client_key(config, client), client, found, changes)? {
            Some(key) => drop(clients.insert(client.clone(), key)),
            None => missing = true,
        }
    }
    Ok((!missing).then(|| KeyRing::of(PathBuf::new(), public, clients)))
}

/// The public key of a holder; none if its Secret is still to be made.
fn one(
    id: &Id,
    holder: &impl Display,
    found: &Everything,
    changes: &mut Vec<Change>,
) -> Result<Option<String>, InitError> {
    let file = keys::file_name(holder);
    let Some(secret) = found.get(id) else {
        let data = [(file, keys::make_seed()?)].into();
        changes.push(Change::Create(Object { id: id.clone(), data, is_immutable: true }));
        return Ok(None);
    };
    match secret.data.get(&file).and_then(|seed| keys::public_of(seed)) {
        Some(public) => Ok(Some(public)),
        None => Err(InitError::Unusable {
            object: id.to_string(),
            problem: format!("holds no nkey seed under `{file}`"),
            advice: "put the key back, or delete the Secret to have a new one made".to_owned(),
        }),
    }
}

/// The workers' key where they run.
pub(super) fn copy_for_workers(
    config: &Config,
    found: &Everything,
    changes: &mut Vec<Change>,
) -> Result<(), InitError> {
    let (Some(id), Some(own)) = (objects::worker_key(config), found.get(&own_worker_key(config))) else {
        return Ok(());
    };
    match found.get(&id) {
        None => changes.push(Change::Create(Object { id, data: own.data.clone(), is_immutable: true })),
        Some(Found { data, .. }) if *data == own.data => {}
        Some(_) => {
            return Err(InitError::Unusable {
                object: id.to_string(),
                problem: format!("holds another key than {}", own_worker_key(config)),
                advice: "delete it to have it made anew; workers take the new one when they start".to_owned(),
            });
        }
    }
    Ok(())
}

fn own_worker_key(config: &Config) -> Id {
    objects::key(config, Principal::Service(Service::InferenceWorker))
}

/// What the gate lets a person and CI demand: settings of the controller.
const CLIENT_VERBS: [&str; 6] = ["deploy", "pause", "resume", "rollback", "revalidate", "retire"];

/// What services must know of the keys of others: a file of settings for each.
pub(super) fn identities(config: &Config, ring: &KeyRing) -> objects::Data {
    let list = |words: &[&str]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let principal = |principal: Principal, namespaces: &[&str], verbs: &[&str]| {
        format!(
            "[[gate.principals]]\nkey = \"{}\"\nactor = \"{principal}\"\nnamespaces = [{}]\nverbs = [{}]\n",
            ring.public(principal),
            list(namespaces),
            list(verbs)
        )
    };
    let namespaces: Vec<&str> = config.client_namespaces.iter().map(Namespace::as_str).collect();
    let operator = principal(Principal::Operator, &["*"], &["*"]);
    let client = principal(Principal::Client, &namespaces, &CLIENT_VERBS);
    let validator = ring.public(Principal::Service(Service::Validator));
    [
        ("controller.toml".to_owned(), format!("{operator}\n{client}")),
        ("ingress.toml".to_owned(), format!("[auth]\nprobe_keys = [\"{validator}\"]\n")),
    ]
    .into()
}
