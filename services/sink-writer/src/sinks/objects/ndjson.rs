//! Rows as lines of JSON, with the columns of the table.

use crate::domain::{Moment, Row, RowKey};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    io::{BufRead as _, BufReader, Read, Write as _},
};

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    namespace: &'a str,
    deployment: &'a str,
    request_id: &'a str,
    correlation_id: &'a str,
    revision: String,
    model_digest: &'a str,
    trace_id: &'a str,
    principal: &'a str,
    attempt: u32,
    accepted_at: String,
    completed_at: String,
    ok: bool,
    code: &'a str,
    outputs: &'a RawValue,
}

/// The rows, a line each.
///
/// # Errors
/// When a row has no line; why.
pub(super) fn write(rows: &[Row], gzip: bool) -> Result<Vec<u8>, String> {
    let mut lines = Vec::new();
    for row in rows {
        let line = Line {
            namespace: &row.namespace,
            deployment: &row.deployment,
            request_id: &row.request_id,
            correlation_id: &row.correlation_id,
            revision: row.revision.to_string(),
            model_digest: &row.model_digest,
            trace_id: &row.trace_id,
            principal: &row.principal,
            attempt: row.attempt,
            accepted_at: Moment::of(row.accepted_at)?.rfc3339(),
            completed_at: Moment::of(row.completed_at)?.rfc3339(),
            ok: row.ok,
            code: &row.code,
            outputs: &row.outputs,
        };
        serde_json::to_writer(&mut lines, &line).map_err(|error| error.to_string())?;
        lines.push(b'\n');
    }
    if !gzip {
        return Ok(lines);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&lines).and_then(|()| encoder.finish()).map_err(|error| error.to_string())
}

/// The keys of the rows of an object.
///
/// # Errors
/// What about it is no object of rows.
pub(super) fn keys(content: &[u8], gzip: bool) -> Result<Vec<RowKey>, String> {
    if gzip { keys_of(MultiGzDecoder::new(content)) } else { keys_of(content) }
}

#[derive(Deserialize)]
struct Key<'a> {
    #[serde(borrow)]
    request_id: Cow<'a, str>,
}

fn keys_of(content: impl Read) -> Result<Vec<RowKey>, String> {
    let mut keys = Vec::new();
    for (n, line) in BufReader::new(content).lines().enumerate() {
        let line = line.map_err(|error| error.to_string())?;
        let key: Key<'_> = serde_json::from_str(&line).map_err(|error| format!("line {}: {error}", n + 1))?;
        keys.push(RowKey::of(&key.request_id));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::row_for_test;
    use slipway_kernel::Timestamp;

    #[test]
    fn a_line_has_the_columns_of_the_table_and_keys_are_read_back() {
        let rows = [row_for_test("r1"), row_for_test("r2")];
        let plain = write(&rows, false).unwrap();
        let lines = String::from_utf8(plain.clone()).unwrap();
        let digest = "m".repeat(64);
        let line = format!(
            r#"{{"namespace":"default","deployment":"digits","request_id":"r1","correlation_id":"run-1","revision":"1-2","model_digest":"{digest}","trace_id":"","principal":"ann","attempt":1,"accepted_at":"2026-01-01T00:00:00.250Z","completed_at":"2026-01-01T00:00:00.375Z","ok":true,"code":"","outputs":[{{"name":"label","data":[7]}}]}}"#
        );
        assert_eq!(lines.lines().next(), Some(line.as_str()));
        let wanted = vec![RowKey::of("r1"), RowKey::of("r2")];
        assert_eq!(keys(&plain, false).unwrap(), wanted);
        let packed = write(&rows, true).unwrap();
        assert!(packed.len() < plain.len());
        assert_eq!(keys(&packed, true).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_row_is_told() {
        assert!(keys(b"{\"a\":1}\n", false).unwrap_err().starts_with("line 1: "));
        assert!(keys(b"no gzip", true).is_err());
        let mut row = row_for_test("r1");
        row.completed_at = Timestamp(u64::MAX);
        assert!(write(&[row], false).unwrap_err().contains("9999"));
    }
}
