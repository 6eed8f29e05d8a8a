//! Where a host's disks are mounted, as systemd reads it.

use super::{Filesystem, Storage};

/// The name of the unit, which must be that of the folder. systemd.unit(5), "string escaping for inclusion in unit names".
pub(super) fn unit(storage: &Storage) -> String {
    let mut name = String::new();
    for (n, byte) in storage.mount.trim_start_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if n == 0 => name.push_str("\\x2e"),
            _ if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':') => name.push(char::from(byte)),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name + ".mount"
}

/// The unit. Its file system is known by the label that the role gives it.
pub(super) fn mount(storage: &Storage) -> String {
    let kind = match storage.filesystem {
        Filesystem::Xfs => "xfs",
        Filesystem::Ext4 => "ext4",
    };
    format!(
        "[Unit]\nDescription=Disks for models, images and results\n\n[Mount]\nWhat=LABEL=slipway\nWhere={}\nType={kind}\nOptions=noatime\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        storage.mount
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_named_as_systemd_escapes_its_folder() {
        // As `systemd-escape --path --suffix=mount` has them.
        for (folder, name) in [
            ("/var/lib/slipway", "var-lib-slipway.mount"),
            ("/srv/fast-disks", "srv-fast\\x2ddisks.mount"),
            ("/.models/a_b.c+d", "\\x2emodels-a_b.c\\x2bd.mount"),
        ] {
            let storage: Storage =
                serde_json::from_value(serde_json::json!({ "devices": [], "mount": folder })).unwrap();
            assert_eq!(unit(&storage), name);
            assert!(mount(&storage).contains(&format!("\nWhere={folder}\nType=xfs\n")));
        }
    }
}
