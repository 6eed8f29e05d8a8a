//! Cleaning up: what ended workers of retired generations left in the run folder, and the claim on it.
//!
//! Workers are the controller's: it starts them, remembers each in `<instance>.json`, and removes that when the worker has
//! ended. So nothing is touched here whose record is still there. What stays after a worker is its log, which the controller
//! keeps for a while; a retired deployment shall leave none behind.

use super::{NotReady, Order, Refused, claim, io_finding, run_folder, take};
use slipway_kernel::{DeploymentId, Generation, Item};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Names listed in the answer; a fact is small, and the rest is counted.
const LISTED: usize = 40;
/// The longest name of an instance: it is a DNS label.
const LONGEST_INSTANCE: usize = 63;
/// What may lie there of a worker that ended, after the instance's name.
const ENDINGS: [&str; 3] = [".log", ".toml", ".findings.json"];
/// What the controller remembers of a worker that may still run.
const RECORD: &str = ".json";

/// Removes what the retired generations left here. Doing it twice is harmless. Blocking.
///
/// # Errors
/// [`NotReady`].
pub fn remove(data_dir: &Path, order: &Order) -> Result<Vec<Item>, NotReady> {
    let run = run_folder(data_dir);
    if !run.exists() {
        return Ok(Vec::new());
    }
    Ok(take_away(&run, order)?)
}

fn take_away(run: &Path, order: &Order) -> Result<Vec<Item>, Refused> {
    let failed = |path: &Path, error: io::Error| Refused::Finding(io_finding("cannot remove", path, &error));
    take(run, order)?;
    let names = names(run).map_err(|error| failed(run, error))?;
    let mut removed = Vec::new();
    for name in left_behind(&names, &order.deployment, order.generation) {
        let path = run.join(&name);
        delete(&path).map_err(|error| failed(&path, error))?;
        removed.push(name);
    }
    // The claim goes last: until then it keeps an overtaken holder out.
    let claim: PathBuf = run.join(claim::file_name(&order.deployment));
    delete(&claim).map_err(|error| failed(&claim, error))?;
    Ok(items(&removed))
}

fn names(run: &Path) -> io::Result<BTreeSet<String>> {
    fs::read_dir(run)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// The files of ended workers of the deployment's generations up to `last`.
fn left_behind(names: &BTreeSet<String>, deployment: &DeploymentId, last: Generation) -> Vec<String> {
    // Names of instances say neither the namespace nor all of a long name. Whoever runs here has a claim, so if no other
    // claim could have made the same names, they are ours.
    let others: Vec<DeploymentId> =
        names.iter().filter_map(|name| claim::deployment_of(name)).filter(|other| other != deployment).collect();
    let ours = |name: &&String| {
        let Some(instance) = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)) else { return false };
        let may_run = names.contains(&format!("{instance}{RECORD}"));
        let Some(parts) = Instance::parse(instance) else { return false };
        let ambiguous = others.iter().any(|other| parts.belongs_to(other));
        !may_run && !ambiguous && parts.generation <= last.0 && parts.belongs_to(deployment)
    };
    names.iter().filter(ours).cloned().collect()
}

/// The parts of `<deployment>-<generation>-<revision>-<number>-<8 hexadecimal digits>`.
struct Instance<'a> {
    name: &'a str,
    generation: u32,
    /// How long the name could be beside the rest.
    room: usize,
}

impl<'a> Instance<'a> {
    fn parse(instance: &'a str) -> Option<Self> {
        let mut parts = instance.rsplitn(5, '-');
        let (random, number, revision, generation) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = parts.next()?;
        let is_random = random.len() == 8 && random.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_random || number.parse::<u32>().is_err() || revision.parse::<u32>().is_err() {
            return None;
        }
        let room = LONGEST_INSTANCE.checked_sub(instance.len() - name.len())?;
        Some(Self { name, generation: generation.parse().ok()?, room })
    }

    fn belongs_to(&self, deployment: &DeploymentId) -> bool {
        let name = deployment.name.as_str();
        // Labels are ASCII, so a cut never splits a character.
        self.name == name.get(..self.room).unwrap_or(name)
    }
}

/// Links are removed, never followed.
fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn items(removed: &[String]) -> Vec<Item> {
    let mut items: Vec<Item> = removed
        .iter()
        .take(LISTED)
        .map(|name| Item { name: "file".to_owned(), value: format!("run/{name}") })
        .collect();
    if removed.len() > LISTED {
        items.push(Item { name: "more".to_owned(), value: format!("{} more", removed.len() - LISTED) });
    }
    items
}

#[cfg(test)]
mod tests {
    use super::super::tests::order;
    use super::*;

    struct Run(tempfile::TempDir);

    impl Run {
        fn with(names: &[&str]) -> Self {
            let run = Self(tempfile::tempdir().unwrap());
            fs::create_dir(run.path("")).unwrap();
            for name in names {
                fs::write(run.path(name), "").unwrap();
            }
            run
        }

        fn path(&self, name: &str) -> PathBuf {
            run_folder(self.0.path()).join(name)
        }

        fn removed(&self) -> Vec<String> {
            remove(self.0.path(), &order(1)).unwrap().into_iter().map(|item| item.value).collect()
        }
    }

    #[test]
    fn logs_of_ended_workers_of_retired_generations_are_removed_and_nothing_else() {
        let kept = [
            // A newer generation, another deployment, a worker the controller still remembers, and what is no worker's.
            "digits-2-1-0-0123abcd.log",
            "digits-b-1-1-0-0123abcd.log",
            "digits-1-1-1-0123abcd.log",
            "digits-1-1-1-0123abcd.json",
            "nats-server.log",
            "digits-notes.log",
        ];
        let ours = ["digits-1-1-0-0123abcd.log", "digits-1-2-0-0123abcd.findings.json", "digits-1-2-0-0123abcd.toml"];
        let run = Run::with(&[&kept[..], &ours[..]].concat());
        assert_eq!(run.removed(), ours.map(|name| format!("run/{name}")));
        assert_eq!(run.removed(), Vec::<String>::new());
        for kept in kept {
            assert!(run.path(kept).exists(), "{kept}");
        }
        assert!(!run.path("default.digits.claim").exists());
    }

    #[test]
    fn where_another_namespace_has_the_same_name_its_logs_are_left() {
        let run = Run::with(&["other.digits.claim", "digits-1-1-0-0123abcd.log"]);
        assert_eq!(run.removed(), Vec::<String>::new());
        assert!(run.path("digits-1-1-0-0123abcd.log").exists() && run.path("other.digits.claim").exists());
    }

    #[test]
    fn a_name_that_was_cut_is_known_again() {
        let long = "a".repeat(60);
        let instance = format!("{}-1-1-0-0123abcd", &long[..48]);
        assert_eq!(instance.len(), 63);
        let deployment: DeploymentId = format!("default.{long}").parse().unwrap();
        assert!(Instance::parse(&instance).unwrap().belongs_to(&deployment));
        assert!(!Instance::parse("aaaa-1-1-0-0123abcd").unwrap().belongs_to(&deployment));
    }

    #[test]
    fn where_nothing_was_made_nothing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(remove(folder.path(), &order(1)).unwrap(), []);
    }

    #[test]
    fn a_link_is_removed_and_what_it_points_to_stays() {
        let run = Run::with(&[]);
        let precious = run.0.path().join("precious");
        fs::write(&precious, "x").unwrap();
        std::os::unix::fs::symlink(&precious, run.path("digits-1-1-0-0123abcd.log")).unwrap();
        assert_eq!(run.removed().len(), 1);
        assert!(precious.exists());
    }

    #[test]
    fn a_long_list_is_counted() {
        let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let items = items(&names);
        assert_eq!((items.len(), items[40].value.as_str()), (41, "10 more"));
    }
}
