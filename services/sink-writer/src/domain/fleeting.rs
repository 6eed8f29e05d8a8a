//! Outputs that would be gone with the place of this process.

use slipway_kernel::spec::Output;
use std::path::Path;

/// Where rows of `output` would lie that is gone with this process's place, whose data folder does not outlive it; `None` if they last, as far
/// as can be told from here. Other folders are mounts that somebody made, or cannot be written.
#[must_use]
pub fn fleeting(output: &Output, data_folder: &Path, has_database: bool) -> Option<String> {
    let below = |uri: &str| {
        let path = Path::new(uri.strip_prefix("file://").unwrap_or(uri));
        path.starts_with(data_folder).then(|| path.display().to_string())
    };
    match output {
        Output::Sqlite(_) if has_database => None,
        Output::Sqlite(sqlite) => Some(format!("table {} in {}", sqlite.table, data_folder.display())),
        Output::Files(files) => below(&files.uri),
        Output::Postgres(_) | Output::S3(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(output: serde_json::Value, has_database: bool) -> Option<String> {
        fleeting(&serde_json::from_value(output).unwrap(), Path::new("/var/lib/slipway"), has_database)
    }

    #[test]
    fn what_lies_in_the_data_folder_goes_with_it() {
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let sqlite = json(r#"{ "sqlite": { "table": "results" } }"#);
        assert_eq!(of(sqlite.clone(), false).as_deref(), Some("table results in /var/lib/slipway"));
        assert_eq!(of(sqlite, true), None);
        let files = |uri: &str| of(serde_json::json!({ "files": { "uri": uri } }), true);
        assert_eq!(files("file:///var/lib/slipway/results").as_deref(), Some("/var/lib/slipway/results"));
        assert_eq!(files("file:///var/lib/slipway-results"), None);
        assert_eq!(of(json(r#"{ "s3": { "bucket": "results" } }"#), false), None);
        assert_eq!(of(json(r#"{ "postgres": { "url": "env:URL" } }"#), false), None);
    }
}
