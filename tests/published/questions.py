"""Canned questions over published tables in a DuckDB of one's own, and rows of any client in one form.

For the scripts beside it and those in tests/clients.
"""

import datetime
import decimal
import glob
import json
import math
import os
import subprocess

TABLES = ["flow_segments", "objects", "flows", "sources", "profiles", "flow_delete_requests", "webhooks", "service"]

# The storage backends are in the server's configuration, which is not published: those that have Objects.
STORAGE_BACKENDS = """
CREATE TABLE storage_backends AS
SELECT DISTINCT storage_id AS id, CAST(NULL AS VARCHAR) AS label, CAST(NULL AS VARCHAR) AS provider,
    CAST(NULL AS VARCHAR) AS region, CAST(NULL AS VARCHAR) AS product,
    storage_id = (SELECT local_storage_id FROM raw.service) AS is_default,
    CAST(NULL AS BIGINT) AS capacity_bytes, CAST(NULL AS BIGINT) AS free_bytes
FROM object_instances
WHERE controlled
"""


def run(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def question_sql(program, name, parameters):
    """A canned question with these values in it, as every engine gets it."""
    return run(program, "query", name, *parameters, "--print-sql").strip()


def question_columns(program, name):
    """Names and types of the answer's columns, from the head of its file: (name, type), in order."""
    lines = run(program, "query", name, "--explain").split("\nColumns\n")[1].splitlines()
    words = [line.strip().split(" ", 1) for line in lines if line.strip()]
    return [(name, rest[1:].split(")")[0]) for name, rest in words]


def duckdb_over(tables, setup):
    """DuckDB with the published tables of a folder, and what `tamslake sql --duckdb-setup` prints."""
    import duckdb
    import duckdb_extension_delta

    pattern = os.path.join(list(duckdb_extension_delta.__path__)[0], "**", "delta.duckdb_extension")
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    connection.execute(f"LOAD '{glob.glob(pattern, recursive=True)[0]}'")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE SCHEMA raw")
    for table in TABLES:
        path = os.path.abspath(os.path.join(tables, table)).replace("'", "''")
        connection.execute(f"CREATE VIEW raw.{table} AS FROM delta_scan('{path}')")
    connection.execute(setup)
    connection.execute(STORAGE_BACKENDS)
    return connection


def rows_of_duckdb(connection, sql):
    return rows_of_arrow(connection.execute(sql).to_arrow_table())


def rows_of_arrow(table):
    return table.column_names, list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def plain(value, kind=None):
    """A value as every client can have it. `kind` is what the question's head says of the column."""
    if value is None or value is NotImplemented:
        return None
    if isinstance(value, float) and math.isnan(value) and kind not in (None, "number"):
        return None  # a null of data frames
    if kind in ("map", "list", "object") and isinstance(value, str):
        value = json.loads(value)
    if kind == "map":
        return as_map(value)
    if kind == "boolean":
        return {"t": True, "true": True, "f": False, "false": False}[value] if isinstance(value, str) else bool(value)
    if kind == "integer":
        return int(value)
    if kind == "number":
        return float(value)
    if kind == "time":
        return as_time(value)
    return nested(value)


def nested(value):
    """What has no type of its own in the head: fields of lists, and answers without a head."""
    if isinstance(value, dict):
        return {str(key): nested(of) for key, of in value.items()}
    if isinstance(value, (list, tuple)) or type(value).__name__ in ("ndarray", "Series"):
        return [nested(of) for of in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return as_time(value)
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if hasattr(value, "item"):  # numpy's numbers
        return value.item()
    return value


def as_map(value):
    """A map is an object in JSON, pairs in Arrow, and records of key and value in Polars."""
    if isinstance(value, dict):
        return nested(value)
    pairs = [(of["key"], of["value"]) if isinstance(of, dict) else tuple(of) for of in value]
    return {key: nested(of) for key, of in pairs}


def as_time(value):
    """UTC, in microseconds, as text."""
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value.strip())
    if type(value) is datetime.date:
        return value.isoformat()
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime(warn=False)
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return value.isoformat(timespec="microseconds")


def plain_rows(columns, names, rows):
    """Rows by the names and types of the head. An answer with other columns is none."""
    if list(names) != [name for name, _ in columns]:
        raise ValueError(f"columns {list(names)}, not {[name for name, _ in columns]}")
    return [[plain(value, kind) for value, (_, kind) in zip(row, columns, strict=True)] for row in rows]


def difference(one, other):
    """The first that is not equal, in words; None if there is none. Floats have to be the same to the last digit."""
    for number, (left, right) in enumerate(zip(one, other)):
        if left != right:
            return f"row {number}: {left}, not {right}"
    if len(one) != len(other):
        return f"{len(one)} rows, not {len(other)}"
    return None
