//! Rows as a Parquet file: the columns of the table, one row group.

use crate::domain::{Moment, Row, RowKey};
use bytes::Bytes;
use parquet::{
    basic::Compression,
    column::reader::ColumnReader,
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type},
    errors::{ParquetError, Result},
    file::{
        properties::WriterProperties,
        reader::{FileReader as _, SerializedFileReader},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{parser::parse_message_type, types::ColumnPath},
};
use std::sync::Arc;

/// The columns, in their order. Texts of Parquet are UTF-8; JSON is one that readers can take apart.
const SCHEMA: &str = "message result {
    required binary namespace (STRING);
    required binary deployment (STRING);
    required binary request_id (STRING);
    required binary correlation_id (STRING);
    required binary revision (STRING);
    required binary model_digest (STRING);
    required binary trace_id (STRING);
    required binary principal (STRING);
    required int32 attempt;
    required int64 accepted_at (TIMESTAMP(MILLIS, true));
    required int64 completed_at (TIMESTAMP(MILLIS, true));
    required boolean ok;
    required binary code (STRING);
    required binary outputs (JSON);
}";
/// Where `request_id` stands among them.
const REQUEST_ID: usize = 2;

/// The rows as a file.
///
/// # Errors
/// When a row cannot stand in it; why.
pub(super) fn write(rows: &[Row], snappy: bool) -> std::result::Result<Vec<u8>, String> {
    for row in rows {
        // Readers refuse a whole file for a time that they cannot say.
        Moment::of(row.accepted_at)?;
        Moment::of(row.completed_at)?;
    }
    file(rows, snappy).map_err(|error| error.to_string())
}

fn file(rows: &[Row], snappy: bool) -> Result<Vec<u8>> {
    let column = |name: &str| ColumnPath::from(name);
    let properties = WriterProperties::builder()
        .set_compression(if snappy { Compression::SNAPPY } else { Compression::UNCOMPRESSED })
        // No two are the same.
        .set_column_dictionary_enabled(column("request_id"), false)
        .set_column_dictionary_enabled(column("outputs"), false)
        .build();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let texts = |of: fn(&Row) -> &str| rows.iter().map(|row| ByteArray::from(of(row))).collect::<Vec<_>>();
    let times =
        |of: fn(&Row) -> u64| rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX)).collect::<Vec<_>>();
    column_of::<ByteArrayType>(&mut group, &texts(|row| &row.namespace))?;
    column_of::<ByteArrayType>(&mut group, &texts(|row| &row.deployment))?;
    column_of::<ByteArrayType>(&mut group, &texts(|row| &row.request_id))?;
    column_of::<ByteArrayType>(&mut group, &texts(|row| &row.correlation_id))?;
    let revisions: Vec<ByteArray> = rows.iter().map(|row| row.revision.to_string().into_bytes().into()).collect();
    column_of::<ByteArrayType>(&mut group, &revisions)?;
    column_of::<ByteArrayType>(&mut group, &texts(|row| &row.model_digest))?;
    column_of::<ByteArrayType>(&mut group, &texts(|row| &row.trace_id))?;
    column_of::<ByteArrayType>(&mut group, &texts(|row| &row.principal))?;
    let attempts: Vec<i32> = rows.iter().map(|row| i32::try_from(row.attempt).unwrap_or(i32::MAX)).collect();
    column_of::<Int32Type>(&mut group, &attempts)?;
    column_of::<Int64Type>(&mut group, &times(|row| row.accepted_at.0))?;
    column_of::<Int64Type>(&mut group, &times(|row| row.completed_at.0))?;
    column_of::<BoolType>(&mut group, &rows.iter().map(|row| row.ok).collect::<Vec<bool>>())?;
    column_of::<ByteArrayType>(&mut group, &texts(|row| &row.code))?;
    column_of::<ByteArrayType>(&mut group, &texts(|row| row.outputs.get()))?;
    group.close()?;
    writer.into_inner()
}

/// Writes the next column.
fn column_of<T: DataType>(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, values: &[T::T]) -> Result<()> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("more columns than the schema has".to_owned()));
    };
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

/// The keys of the rows of a file.
///
/// # Errors
/// What about it is no file of rows.
pub(super) fn keys(content: Bytes) -> std::result::Result<Vec<RowKey>, String> {
    read_keys(content).map_err(|error| error.to_string())
}

fn read_keys(content: Bytes) -> Result<Vec<RowKey>> {
    let reader = SerializedFileReader::new(content)?;
    let mut keys = Vec::new();
    for n in 0..reader.num_row_groups() {
        let group = reader.get_row_group(n)?;
        let named = group.metadata().columns().get(REQUEST_ID).map(|column| column.column_path().string());
        let column = match named.as_deref() {
            Some("request_id") => group.get_column_reader(REQUEST_ID)?,
            _ => return Err(ParquetError::General("no column `request_id`".to_owned())),
        };
        let ColumnReader::ByteArrayColumnReader(mut column) = column else {
            return Err(ParquetError::General("the column `request_id` is no text".to_owned()));
        };
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let mut ids: Vec<ByteArray> = Vec::new();
        while ids.len() < rows && column.read_records(rows - ids.len(), None, None, &mut ids)?.0 > 0 {}
        if ids.len() != rows {
            return Err(ParquetError::General(format!("{} request ids for {rows} rows", ids.len())));
        }
        for id in &ids {
            keys.push(RowKey::of(id.as_utf8()?));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::row_for_test;
    use parquet::record::RowAccessor as _;
    use slipway_kernel::Timestamp;

    #[test]
    fn a_file_has_the_columns_of_the_table_and_keys_are_read_back() {
        let rows: Vec<Row> = (0..3_000).map(|n| row_for_test(&format!("r{n}"))).collect();
        let wanted: Vec<RowKey> = rows.iter().map(|row| RowKey::of(&row.request_id)).collect();
        for snappy in [false, true] {
            let content = Bytes::from(write(&rows, snappy).unwrap());
            assert_eq!(keys(content.clone()).unwrap(), wanted);
            let reader = SerializedFileReader::new(content).unwrap();
            let columns = reader.metadata().file_metadata().schema_descr().columns().to_vec();
            let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
            assert_eq!(names.len(), 14);
            let first = reader.get_row_iter(None).unwrap().next().unwrap().unwrap();
            assert_eq!(first.get_string(REQUEST_ID).unwrap(), "r0");
            assert_eq!((first.get_string(4).unwrap().as_str(), first.get_int(8).unwrap()), ("1-2", 1));
            assert_eq!(first.get_timestamp_millis(9).unwrap(), 1_767_225_600_250);
            assert!(first.get_bool(11).unwrap());
        }
    }

    #[test]
    fn what_is_no_file_of_rows_is_told() {
        assert!(keys(Bytes::from_static(b"PAR1 no")).is_err());
        let mut row = row_for_test("r1");
        row.accepted_at = Timestamp(u64::MAX);
        assert!(write(&[row], true).unwrap_err().contains("9999"));
    }
}
