#!/usr/bin/env python3
"""Reads published tables with programs that are not ours, and compares their answers.

    python3 tests/published/read.py FOLDER EXPECTED.json [--readers deltalake,duckdb,...] [--only TABLE,...]

FOLDER holds one Delta table a folder. EXPECTED.json: {"table": [{"sql": "select ... from t", "answer": [...]}, ...]}.
Each question has one row as its answer. Prints a table of reader and table:

    ok       every answer is right
    cannot   the reader says that it cannot read such a table (allowed for `pyarrow` alone, which knows no deletion vectors)
    WRONG    an answer differs, or there is none: the program ends with status 1

A reader whose package is not installed fails too: see requirements.txt. `spark` needs Java 17; it gets the Parquet files that
the Delta log names and the rows that the deletion vectors name, since Spark's own Delta reader is no Python package.
"""

import argparse
import functools
import glob
import json
import logging
import os
import sys
import time


def first_row(table):
    return [column[0].as_py() for column in table.columns]


def read_deltalake(path, questions):
    import pyarrow
    from deltalake import DeltaTable, QueryBuilder

    query = QueryBuilder().register("t", DeltaTable(path))
    return [first_row(pyarrow.table(query.execute(sql).read_all())) for sql in questions]


def read_pyarrow(path, questions):
    import duckdb
    from deltalake import DeltaTable

    connection = duckdb.connect()
    connection.register("t", DeltaTable(path).to_pyarrow_dataset())
    return [list(connection.execute(sql).fetchone()) for sql in questions]


@functools.cache
def duckdb_with_delta():
    import duckdb
    import duckdb_extension_delta

    pattern = os.path.join(list(duckdb_extension_delta.__path__)[0], "**", "delta.duckdb_extension")
    extension = glob.glob(pattern, recursive=True)[0]
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    connection.execute(f"load '{extension}'")
    return connection


def read_duckdb(path, questions):
    connection = duckdb_with_delta()
    connection.execute(f"create or replace view t as select * from delta_scan('{path}')")
    return [list(connection.execute(sql).fetchone()) for sql in questions]


def read_polars(path, questions):
    import polars

    with polars.SQLContext(t=polars.scan_delta(path)) as context:
        return [list(context.execute(sql).collect().row(0)) for sql in questions]


@functools.cache
def spark_session():
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2").config("spark.driver.bindAddress", "127.0.0.1")
    session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def delta_in_spark(path):
    """A published table as a data frame: its files, without the rows that its deletion vectors name."""
    import pyarrow
    from deltalake import DeltaTable
    from pyspark.sql.types import StructType

    table = DeltaTable(path)
    session = spark_session()
    # Delta writes a schema down as Spark does. Columns that came later are null in older files.
    schema = StructType.fromJson(json.loads(table.schema().to_json()))
    files = [row["path"] for row in pyarrow.table(table.get_add_actions()).to_pylist()]
    if not files:
        return session.createDataFrame([], schema)
    dead = []
    for batch in pyarrow.table(table.deletion_vectors()).to_batches():
        for name, kept in zip(batch["filepath"].to_pylist(), batch["selection_vector"].to_pylist()):
            dead += [(os.path.basename(name), row) for row, keep in enumerate(kept) if not keep]
    rows = session.read.schema(schema).parquet(*(os.path.join(path, file) for file in files))
    if dead:
        places = pyarrow.table({"file": [file for file, _ in dead], "row": [row for _, row in dead]})
        marked = rows.selectExpr("*", "_metadata.file_name as file", "_metadata.row_index as row")
        rows = marked.join(session.createDataFrame(places), ["file", "row"], "left_anti").drop("file", "row")
    return rows


def read_spark(path, questions):
    delta_in_spark(path).createOrReplaceTempView("t")
    return [list(spark_session().sql(sql).collect()[0]) for sql in questions]


READERS = {
    "deltalake": read_deltalake,
    "duckdb": read_duckdb,
    "polars": read_polars,
    "spark": read_spark,
    "pyarrow": read_pyarrow,
}


def judge(name, read, path, questions):
    from deltalake.exceptions import DeltaProtocolError

    try:
        answers = read(path, [question["sql"] for question in questions])
    except DeltaProtocolError as error:
        return ("cannot" if name == "pyarrow" else "WRONG"), str(error)
    except Exception as error:  # whatever it is, the reader did not answer
        return "WRONG", f"{type(error).__name__}: {error}"
    for question, answer in zip(questions, answers):
        if answer != question["answer"]:
            return "WRONG", f"{question['sql']}: {answer}, not {question['answer']}"
    return "ok", None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("expected")
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--only", help="names of tables; all that are expected, else")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)

    with open(arguments.expected, encoding="utf-8") as file:
        expected = json.load(file)
    tables = arguments.only.split(",") if arguments.only else sorted(expected)
    readers = arguments.readers.split(",")
    width = max(map(len, tables)) + 2
    print("".ljust(width) + "".join(reader.ljust(20) for reader in readers))
    notes, failed = [], 0
    for table in tables:
        line = table.ljust(width)
        for reader in readers:
            begun = time.monotonic()
            path = os.path.abspath(os.path.join(arguments.folder, table))
            verdict, note = judge(reader, READERS[reader], path, expected[table])
            failed += verdict == "WRONG"
            if note:
                notes.append(f"{reader}, {table}: {note}")
            line += f"{verdict} ({time.monotonic() - begun:.2f} s)".ljust(20)
        print(line, flush=True)
    print("\n".join(["", *notes]) if notes else "")
    answers = len(tables) * len(readers)
    print(f"{answers - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
