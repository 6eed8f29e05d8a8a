//! Where a row stands among objects: `<namespace>/<deployment>/date=2026-11-29/part-00000007.parquet`, below a prefix.

use super::{Moment, Row};
use slipway_kernel::spec::{Compression, Layout, ObjectFormat, Partitioning};

/// Digits of a number in a name, so that names sort as numbers do. A partition with a hundred million objects is none.
const DIGITS: usize = 8;

/// The partition of a row: a function of what the row says of itself, so that it is the same whenever it comes again. When its
/// request was accepted does not change when it is computed twice.
///
/// # Errors
/// When that time has no date.
pub fn partition(row: &Row, by: Partitioning) -> Result<String, String> {
    let accepted = Moment::of(row.accepted_at).map_err(|error| format!("accepted: {error}"))?;
    let day = format!("{}/{}/date={}", row.namespace, row.deployment, accepted.date());
    Ok(match by {
        Partitioning::Day => day,
        Partitioning::Hour => format!("{day}/hour={:02}", accepted.hour()),
    })
}

/// The name of an object in its partition.
#[must_use]
pub fn object(number: u64, layout: Layout) -> String {
    format!("part-{number:0DIGITS$}.{}", extension(layout))
}

/// The number of an object by its name; none if it is not one of this layout.
#[must_use]
pub fn number(name: &str, layout: Layout) -> Option<u64> {
    let (digits, rest) = name.strip_prefix("part-")?.split_once('.')?;
    let own = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) && rest == extension(layout);
    if own { digits.parse().ok() } else { None }
}

/// What names of objects end with, by which readers choose how to read them.
#[must_use]
pub const fn extension(layout: Layout) -> &'static str {
    match (layout.format, layout.compression) {
        (ObjectFormat::Ndjson, Compression::Gzip) => "ndjson.gz",
        (ObjectFormat::Ndjson, Compression::None | Compression::Snappy) => "ndjson",
        (ObjectFormat::Parquet, _) => "parquet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::row_for_test as row;
    use slipway_kernel::Timestamp;

    #[test]
    fn a_row_stands_in_the_day_or_hour_that_its_request_was_accepted_in() {
        let mut row = row("r1");
        row.accepted_at = Timestamp(1_709_251_199_999);
        assert_eq!(partition(&row, Partitioning::Day).unwrap(), "default/digits/date=2024-02-29");
        assert_eq!(partition(&row, Partitioning::Hour).unwrap(), "default/digits/date=2024-02-29/hour=23");
        row.accepted_at = Timestamp(u64::MAX);
        assert!(partition(&row, Partitioning::Day).unwrap_err().starts_with("accepted: "));
    }

    #[test]
    fn a_name_is_read_as_it_was_written_and_no_other_is() {
        let layout = |format, compression| Layout { format, compression, partition: Partitioning::Day };
        let gz = layout(ObjectFormat::Ndjson, Compression::Gzip);
        assert_eq!(object(7, gz), "part-00000007.ndjson.gz");
        assert_eq!(number("part-00000007.ndjson.gz", gz), Some(7));
        for name in
            ["part-7.ndjson.gz", "part-00000007.ndjson", "part-00000007.ndjson.gz#1", "part-0000000x.ndjson.gz", "x"]
        {
            assert_eq!(number(name, gz), None, "{name}");
        }
        let parquet = layout(ObjectFormat::Parquet, Compression::Snappy);
        assert_eq!(number(&object(12_345_678, parquet), parquet), Some(12_345_678));
    }
}
