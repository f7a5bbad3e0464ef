#!/usr/bin/env python3
"""Asks canned questions in Spark over published tables, and holds the answers against DuckDB's over the same tables.

    python3 tests/published/spark_questions.py FOLDER TAMSLAKE [QUESTION[,PARAMETER=VALUE...] ...]

FOLDER holds the published tables; TAMSLAKE is the program, which prints the questions and DuckDB's functions and views. The
functions and views are those of queries/, word for word but for what Spark writes differently (CHANGES). Needs pyspark, Java
17, deltalake and DuckDB with its extension delta: see requirements.txt.
"""

import os
import re
import sys
import time

import questions
from read import delta_in_spark, spark_session

# Spark's words for some of DuckDB's: of questions and views, and then of functions.
CHANGES = [
    (r"\bLIMIT CAST\((\d+) AS BIGINT\)", r"LIMIT \1"),
    (r"\bAS VARCHAR\)", "AS STRING)"),
    (r"\bunnest\(", "explode("),
    (r"\bgenerate_series\(", "sequence("),
    (r"\barray_length\(", "array_size("),
    (r"\bdate_part\('epoch', ", "seconds_of("),
    (r"\braw\.(\w+)", r"raw_\1"),
    (r"\bmake_timestamp\(", "timestamp_micros("),
    (r"\bepoch_us\(", "unix_micros("),
]

# Names and types of what the functions of queries/duckdb.sql take, and what they give. The others, which take texts apart, are
# not needed by views.
FUNCTIONS = {
    "timestamp_text": ("seconds BIGINT, nanoseconds BIGINT", "STRING"),
    "timerange_text": (
        "start_seconds BIGINT, start_nanoseconds BIGINT, start_inclusive BOOLEAN, "
        "end_seconds BIGINT, end_nanoseconds BIGINT, end_inclusive BOOLEAN",
        "STRING",
    ),
    "tai_minus_utc": ("tai_seconds BIGINT", "INT"),
    "tai_to_utc": ("seconds BIGINT, nanoseconds BIGINT", "TIMESTAMP"),
    "utc_to_tai_seconds": ("utc TIMESTAMP", "BIGINT"),
}

# Not av-mismatch (no `lead` over a named window with a frame), flow-usage and storage-usage (no `array_agg(... ORDER BY ...)`).
ASKED = [
    ["bit-rates", "tolerance_share=-1"],
    ["bytes-by-backend"],
    ["bytes-by-encoding"],
    ["cost"],
    ["coverage"],
    ["flows"],
    ["gaps"],
    ["growth"],
    ["ingest-lag"],
    ["lineage"],
    ["outside-profiles"],
    ["retention-due"],
    ["reuse"],
    ["sources"],
    ["stale-flows", "now=2100-01-01T00:00:00Z"],
    ["summary"],
    ["suspect-objects", "unknown_size=true"],
    ["time-range-analysis"],
    ["unused-objects", "now=2100-01-01T00:00:00Z"],
    ["webhook-health", "all=true", "now=2100-01-01T00:00:00Z"],
    ["where-used"],
]


def in_spark(sql):
    for pattern, replacement in CHANGES:
        sql = re.sub(pattern, replacement, sql)
    return sql


def make_views(spark, tables, setup):
    for table in questions.TABLES:
        delta_in_spark(os.path.join(tables, table)).createOrReplaceTempView(f"raw_{table}")
    spark.sql(
        "CREATE OR REPLACE TEMPORARY FUNCTION seconds_of(time TIMESTAMP) RETURNS DOUBLE "
        "RETURN CAST(unix_micros(time) AS DOUBLE) / 1e6"
    )
    macros = re.findall(r"CREATE OR REPLACE MACRO (\w+)\([^)]*\) AS\s(.*?);\n", setup, re.DOTALL)
    for name, body in macros:
        if name in FUNCTIONS:
            takes, gives = FUNCTIONS[name]
            head = f"CREATE OR REPLACE TEMPORARY FUNCTION {name}({takes}) RETURNS {gives} RETURN"
            spark.sql(f"{head} {in_spark(body)}")
    for name, body in re.findall(r"CREATE OR REPLACE VIEW (\w+) AS\n(.*?);\n", setup, re.DOTALL):
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {in_spark(body)}")
    spark.sql("CREATE OR REPLACE TEMPORARY VIEW storage_backends AS " + in_spark(questions.STORAGE_BACKENDS.split("AS", 1)[1]))


def main():
    tables, program, *asked = sys.argv[1:]
    asked = [question.split(",") for question in asked] or ASKED
    setup = questions.run(program, "sql", "--duckdb-setup")
    duck = questions.duckdb_over(tables, setup)
    spark = spark_session()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.ansi.enabled", "true")
    # "a.b" is the name of a column.
    spark.conf.set("spark.sql.ansi.doubleQuotedIdentifiers", "true")
    make_views(spark, tables, setup)
    failed = 0
    for name, *parameters in asked:
        sql = questions.question_sql(program, name, parameters)
        columns = questions.question_columns(program, name)
        changed = [name.replace("\\1", "n") for pattern, name in CHANGES if re.search(pattern, sql)]
        begun = time.monotonic()
        try:
            answer = spark.sql(in_spark(sql))
            rows = [[value.asDict(True) if hasattr(value, "asDict") else value for value in row] for row in answer.collect()]
            rows = questions.plain_rows(columns, answer.columns, rows)
            wrong = questions.difference(rows, questions.plain_rows(columns, *questions.rows_of_duckdb(duck, sql)))
        except Exception as error:  # whatever it is, there is no answer
            rows, wrong = [], f"{type(error).__name__}: {str(error).splitlines()[0]}"
        failed += wrong is not None
        took = f"{time.monotonic() - begun:.1f} s"
        print(f"{name:<22}{'WRONG' if wrong else 'ok':<7}{len(rows):>6} rows {took:>8}  {', '.join(changed)}", flush=True)
        if wrong:
            print(f"    {wrong}")
    print(f"{len(asked) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
