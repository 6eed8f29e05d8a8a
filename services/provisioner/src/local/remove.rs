//! Cleaning up: what lies in the run folder for the generations that are retired.

use super::{NotReady, Order, Refused, claim, io_finding, run_folder};
use slipway_kernel::{DeploymentId, Generation, Item};
use std::{
    fs::{self, DirEntry},
    io,
    path::Path,
};

/// Names listed in the answer; a fact is small, and the rest is counted.
const LISTED: usize = 40;

/// Removes what the retired generations left here. Doing it twice is harmless. Blocking.
///
/// # Errors
/// [`NotReady`].
pub fn remove(data_dir: &Path, order: &Order) -> Result<Vec<Item>, NotReady> {
    let run = run_folder(data_dir);
    if !run.exists() {
        return Ok(Vec::new());
    }
    take_away(&run, order).map_err(|refused| match refused {
        Refused::Overtaken(newer) => NotReady::Overtaken(newer),
        Refused::Finding(finding) => NotReady::Findings(vec![finding]),
    })
}

fn take_away(run: &Path, order: &Order) -> Result<Vec<Item>, Refused> {
    let failed = |path: &Path, error: io::Error| Refused::Finding(io_finding("cannot remove", path, &error));
    claim::take(run, &order.deployment, order.generation, order.claim).map_err(|error| match error {
        claim::ClaimError::Overtaken(newer) => Refused::Overtaken(newer),
        claim::ClaimError::Io { path, source } => failed(&path, source),
    })?;
    let mut removed = Vec::new();
    for entry in fs::read_dir(run).map_err(|error| failed(run, error))? {
        let entry = entry.map_err(|error| failed(run, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if belongs(&name, &order.deployment, order.generation) {
            delete(&entry).map_err(|error| failed(&entry.path(), error))?;
            removed.push(name);
        }
    }
    // The claim goes last: until then it keeps an overtaken holder out.
    let claim = run.join(claim::file_name(&order.deployment));
    fs::remove_file(&claim).map_err(|error| failed(&claim, error))?;
    removed.sort();
    Ok(items(&removed))
}

/// Whether a name in the run folder belongs to a generation up to `last` of the deployment. Instances are called
/// `<namespace>.<deployment>.<generation>-<revision>.…`, and none of these parts can hold a dot.
fn belongs(name: &str, deployment: &DeploymentId, last: Generation) -> bool {
    let rest = name.strip_prefix(&deployment.to_string()).and_then(|rest| rest.strip_prefix('.'));
    let generation = rest.and_then(|rest| rest.split_once('-')).and_then(|(generation, _)| generation.parse().ok());
    generation.is_some_and(|generation: u32| generation <= last.0)
}

/// Links are removed, never followed.
fn delete(entry: &DirEntry) -> io::Result<()> {
    let outcome =
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn items(removed: &[String]) -> Vec<Item> {
    let mut items: Vec<Item> =
        removed.iter().take(LISTED).map(|name| Item { name: "file".to_owned(), value: format!("run/{name}") }).collect();
    if removed.len() > LISTED {
        items.push(Item { name: "more".to_owned(), value: format!("{} more", removed.len() - LISTED) });
    }
    items
}

#[cfg(test)]
mod tests {
    use super::super::tests::order;
    use super::*;

    #[test]
    fn only_what_belongs_to_the_retired_generations_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let run = run_folder(folder.path());
        fs::create_dir_all(run.join("default.digits.1-2.0-aa")).unwrap();
        fs::write(run.join("default.digits.1-2.0-aa/config"), "").unwrap();
        for name in [
            "default.digits.1-1.0-ab.log",
            "default.digits.2-1.0-ab.log",
            "default.digits-b.1-1.0-ab.log",
            "other.digits.1-1.0-ab.log",
            "default.digits.notes",
        ] {
            fs::write(run.join(name), "").unwrap();
        }
        let items = remove(folder.path(), &order(1)).unwrap();
        let names: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
        assert_eq!(names, ["run/default.digits.1-1.0-ab.log", "run/default.digits.1-2.0-aa"]);
        assert_eq!(remove(folder.path(), &order(1)).unwrap(), []);
        for kept in ["default.digits.2-1.0-ab.log", "default.digits-b.1-1.0-ab.log", "default.digits.notes"] {
            assert!(run.join(kept).exists(), "{kept}");
        }
        assert!(!run.join("default.digits.claim.json").exists());
    }

    #[test]
    fn where_nothing_was_made_nothing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(remove(folder.path(), &order(1)).unwrap(), []);
    }

    #[test]
    fn a_link_is_removed_and_what_it_points_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let run = run_folder(folder.path());
        fs::create_dir_all(&run).unwrap();
        let precious = folder.path().join("precious");
        fs::create_dir(&precious).unwrap();
        std::os::unix::fs::symlink(&precious, run.join("default.digits.1-1.0-ab")).unwrap();
        remove(folder.path(), &order(1)).unwrap();
        assert!(precious.exists());
    }

    #[test]
    fn a_long_list_is_counted() {
        let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let items = items(&names);
        assert_eq!((items.len(), items[40].value.as_str()), (41, "10 more"));
    }
}
