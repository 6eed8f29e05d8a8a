//! The folder that is written: new, or written before by the same command.

use super::{File, helm, kustomize};
use crate::failure::Failure;
use std::{fs, io, path::Path};

/// What tells a folder of ours from others: each file that begins one bears it.
const MARK: &str = "slipway.dev/document";

/// Writes the files. Objects of before that are none any more are removed; a folder that holds something else is left alone.
pub(super) fn write(folder: &Path, files: &[File]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::local(format!("{} cannot be written: {error}", folder.display()));
    if !is_free(folder).map_err(failed)? {
        return Err(Failure::input(format!(
            "{} holds something that `slipway render` did not write",
            folder.display()
        ))
        .hint("name a new folder with --to DIR"));
    }
    for (begin, objects) in [("Chart.yaml", helm::OBJECTS), ("kustomization.yaml", kustomize::OBJECTS)] {
        if is_marked(&folder.join(begin)) {
            remove_objects(&folder.join(objects)).map_err(failed)?;
            fs::remove_file(folder.join(begin)).map_err(failed)?;
        }
    }
    for file in files {
        let path = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        fs::write(&path, &file.text).map_err(failed)?;
    }
    Ok(())
}

/// Whether nothing of others is in it.
fn is_free(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(mut entries) => Ok(entries.next().is_none()
            || ["Chart.yaml", "kustomization.yaml"].iter().any(|begin| is_marked(&folder.join(begin)))),
    }
}

fn is_marked(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.contains(MARK))
}

fn remove_objects(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
