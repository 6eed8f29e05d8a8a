//! Volumes of the node's own disk.

use crate::kubectl::kubectl;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::SystemTime};

/// A volume of the node's own disk, made by hand: the cluster has nobody who provisions any.
pub struct Volume {
    /// Of the volume, and of its class.
    pub name: String,
    folder: tempfile::TempDir,
}

impl Volume {
    pub fn new(name: &str, size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The kubelet gives such a volume to nobody, so it is open to all.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let name = format!("{name}-{}", std::process::id());
        let this = Self { name, folder };
        this.create(&json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": this.name },
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
        }));
        this.create(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": this.name },
            "spec": {
                "storageClassName": this.name, "capacity": { "storage": size }, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": this.folder.path() },
            },
        }));
        this
    }

    fn create(&self, object: &Value) {
        let file = self.folder.path().with_extension("json");
        fs::write(&file, object.to_string()).unwrap();
        kubectl(&["create", "--filename", file.to_str().unwrap()]).unwrap();
        fs::remove_file(file).unwrap();
    }

    /// The files in it, with when each was written.
    pub fn files(&self) -> BTreeMap<PathBuf, SystemTime> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.folder.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    files.insert(entry.path(), metadata.modified().unwrap());
                }
            }
        }
        files
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        for kind in ["persistentvolume", "storageclass"] {
            if let Err(error) = kubectl(&["delete", kind, &self.name, "--wait=false"]) {
                println!("{error}");
            }
        }
    }
}
