//! Every input that is kept, through the target it was kept for: what was found once is not lost again.
#![allow(clippy::unwrap_used)]

use slipway_fuzz::TARGETS;
use std::{collections::BTreeSet, fs, path::Path, thread};

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn every_input_that_is_kept_holds() {
    let mut broken = Vec::new();
    for (target, run) in TARGETS {
        for folder in ["corpus", "found"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
            for name in folder.is_dir().then(|| names(&folder)).into_iter().flatten() {
                let input = fs::read(folder.join(&name)).unwrap();
                // In a thread each, so that one that is broken does not hide the next.
                if thread::spawn(move || run(&input)).join().is_err() {
                    broken.push(format!("{target}: {name}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "broken (see the panics above):\n  {}", broken.join("\n  "));
}

#[test]
fn every_target_has_a_corpus_and_a_program_and_nothing_is_kept_for_another() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(names(&root.join("corpus")), targets);
    assert_eq!(names(&root.join("targets")), targets.iter().map(|target| format!("{target}.rs")).collect());
    assert!(names(&root.join("found")).iter().all(|name| targets.contains(name)));
}
