//! `slipway site`: what Ansible makes a cluster of machines of one's own with.

use crate::{
    cli::{Format, Global, SiteArgs},
    document,
    failure::Failure,
    output::{self, Mark},
};
use serde_json::json;
use slipway_provisioner::domain::site::{self, Files, Site};
use std::{fs, io, path::Path};

/// What tells a folder of ours from others: its inventory begins with it.
const MARK: &str = "# Written by `slipway site`; change the site and write it anew.\n";
const INVENTORY: &str = "inventory.yaml";
const HOSTS: &str = "hosts";

pub(crate) fn run(args: &SiteArgs, global: &Global) -> Result<(), Failure> {
    let site = Site::read(&document::value(&args.file)?).map_err(|refusals| Failure::refusals(&refusals))?;
    let mut files = site::plan(&site).map_err(|error| Failure::local(format!("it cannot be written: {error}")))?;
    if let Some(inventory) = files.get_mut(INVENTORY) {
        inventory.insert_str(0, MARK);
    }
    write(&args.to, &files)?;
    if global.output == Format::Json {
        output::json(&json!({ "folder": args.to, "files": files.keys().collect::<Vec<_>>() }));
    } else {
        let hosts = site.spec.hosts.len();
        output::line(format!(
            "{} {} file(s) for {hosts} host(s) in {}",
            Mark::Good.sign(),
            files.len(),
            args.to.display()
        ));
        output::line(format!(
            "  next: ansible-playbook -i {}/{INVENTORY} infra/bare-metal/site.yaml --check",
            args.to.display()
        ));
    }
    Ok(())
}

/// Writes the files. Hosts of before that are none any more are removed; a folder that holds something else is left alone.
fn write(folder: &Path, files: &Files) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::local(format!("{} cannot be written: {error}", folder.display()));
    if !is_free(folder).map_err(failed)? {
        let found = format!("{} holds something that `slipway site` did not write", folder.display());
        return Err(Failure::input(found).hint("name a new folder with --to DIR"));
    }
    match fs::remove_dir_all(folder.join(HOSTS)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        fs::write(&path, text).map_err(failed)?;
    }
    Ok(())
}

fn is_free(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(mut entries) => Ok(entries.next().is_none()
            || fs::read_to_string(folder.join(INVENTORY)).is_ok_and(|text| text.starts_with(MARK))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_anew_and_one_of_others_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("site");
        let files = |host: &str| {
            let inventory = (INVENTORY.to_owned(), format!("{MARK}all: {{}}\n"));
            Files::from([inventory, (format!("{HOSTS}/{host}/etc/hosts"), String::new())])
        };
        write(&to, &files("one")).unwrap();
        write(&to, &files("two")).unwrap();
        assert!(to.join("hosts/two/etc/hosts").exists() && !to.join("hosts/one").exists());
        fs::write(to.join(INVENTORY), "all: {}\n").unwrap();
        assert!(write(&to, &files("three")).is_err() && to.join("hosts/two").exists());
    }
}
