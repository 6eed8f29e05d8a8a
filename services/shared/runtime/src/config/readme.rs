//! Holding a README's table of keys against the configuration it describes.

use super::{ServiceConfig, keys};
use std::collections::BTreeMap;

/// Compares the rows ``| `section.key` | `default` | meaning |`` of a README with the service's keys: every key has a row
/// with its default, every such row is a key. Tables whose first cell is no key in backquotes are passed over, and
/// `common.*` is not the service's own. Call it from a test with `include_str!("../README.md")`.
///
/// # Errors
/// One sentence for each difference.
pub fn check_readme<C: ServiceConfig>(readme: &str) -> Result<(), Vec<String>> {
    let mut rows = table_rows(readme);
    let mut differences = Vec::new();
    for key in keys::<C>() {
        match rows.remove(key.path.as_str()) {
            None => differences.push(format!("no row for {} (default {})", key.path, key.default)),
            Some(default) if bare(default) != bare(&key.default) => {
                differences.push(format!("{}: the default is {}, the row says {default}", key.path, key.default));
            }
            Some(_) => {}
        }
    }
    let foreign = rows.keys().filter(|path| !path.starts_with("common."));
    differences.extend(foreign.map(|path| format!("{path} is no key of {}", C::SERVICE)));
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

/// The default by key, of all rows below a header whose first cell is `key`.
fn table_rows(readme: &str) -> BTreeMap<&str, &str> {
    let mut rows = BTreeMap::new();
    let mut in_table = false;
    for line in readme.lines() {
        let mut cells = line.trim().strip_prefix('|').map(|row| row.split('|').map(str::trim)).into_iter().flatten();
        let (Some(first), Some(second)) = (cells.next(), cells.next()) else {
            in_table = false;
            continue;
        };
        if first.eq_ignore_ascii_case("key") {
            in_table = true;
        } else if let Some(key) = first.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'))
            && in_table
        {
            rows.insert(key, second);
        }
    }
    rows
}

/// A default without the marks a README may or may not put around it.
fn bare(cell: &str) -> &str {
    cell.trim_matches('`').trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::tests::Sample;

    fn table() -> String {
        let rows: String = keys::<Sample>()
            .iter()
            .map(|key| format!("| `{}` | `{}` | what it does |\n", key.path, key.default))
            .collect();
        format!(
            "# Sample\n\n| event | slot |\n|---|---|\n| `planned` | `plan` |\n\n| Key | Default | Meaning |\n|---|---|---|\n{rows}\nMore.\n"
        )
    }

    #[test]
    fn a_table_of_all_keys_is_accepted() {
        assert_eq!(check_readme::<Sample>(&table()), Ok(()));
    }

    #[test]
    fn each_difference_is_named() {
        let readme = table().replace("`256`", "`255`").replace("`nats.url`", "`nats.uri`");
        assert_eq!(
            check_readme::<Sample>(&readme).unwrap_err(),
            [
                "limits.max_pending: the default is 256, the row says `255`",
                "no row for nats.url (default \"nats://127.0.0.1:4222\")",
                "nats.uri is no key of sample-service",
            ]
        );
    }
}
