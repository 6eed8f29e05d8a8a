"""Reads results as users do, by globs: DuckDB in a folder, pyarrow in a folder and in a bucket. Prints what it found as JSON.

usage: readers.py FOLDER ENDPOINT BUCKET ACCESS_KEY SECRET_KEY
FOLDER holds `parquet`, `ndjson` and `gzip`, each an output; the bucket holds an output below `team/results`.
"""
import json
import sys

import duckdb
import pyarrow.dataset
import pyarrow.fs

folder, endpoint, bucket, access_key, secret_key = sys.argv[1:]
base = duckdb.connect()
base.execute("SET TimeZone = 'UTC'")
QUERY = """
    SELECT count(*), count(DISTINCT request_id), min(request_id), max(revision), bool_and(ok), min(attempt),
           min(accepted_at)::VARCHAR, min(completed_at)::VARCHAR, min(outputs::JSON ->> '$[0].name'), min("date")::VARCHAR
    FROM {}
"""


def duck(table):
    return base.execute(QUERY.format(table)).fetchone()


def types(table):
    return {name: kind for name, kind, *_ in base.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}


parquet = f"read_parquet('{folder}/parquet/*/*/date=*/*.parquet', hive_partitioning = true)"
ndjson = f"read_json('{folder}/ndjson/*/*/date=*/*.ndjson', hive_partitioning = true)"
gzip = f"read_json('{folder}/gzip/*/*/date=*/hour=*/*.ndjson.gz', hive_partitioning = true)"
s3 = pyarrow.fs.S3FileSystem(
    access_key=access_key, secret_key=secret_key, endpoint_override=endpoint.removeprefix("http://"), scheme="http"
)
local = pyarrow.dataset.dataset(f"{folder}/parquet/default", partitioning="hive")
remote = pyarrow.dataset.dataset(f"{bucket}/team/results/default", filesystem=s3, partitioning="hive")
# Nothing but data is found in a folder that is read as a whole.
arrow = [
    {"rows": len(table), "ids": len(set(table["request_id"].to_pylist())), "accepted": str(table.schema.field("accepted_at").type)}
    for table in (local.to_table(), remote.to_table())
]
print(json.dumps({"duckdb": [duck(parquet), duck(ndjson), duck(gzip)], "types": types(parquet), "arrow": arrow}))
