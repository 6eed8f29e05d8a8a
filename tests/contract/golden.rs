//! Golden files: compared, or written on demand.

use serde_json::Value;
use std::{env, fs, path::Path};

/// Compares `value` with the golden file at `proto/<path>`, or writes it when `SLIPWAY_UPDATE_GOLDEN` is set.
pub(crate) fn compare(path: &str, value: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto").join(path);
    let found = serde_json::to_string_pretty(value).unwrap() + "\n";
    if env::var_os("SLIPWAY_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, found).unwrap();
        return;
    }
    let wanted = fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; SLIPWAY_UPDATE_GOLDEN=1 writes it", file.display()));
    assert_eq!(found, wanted, "{path} changed: a reader of the old form must still understand the new one");
}
