#!/usr/bin/env python3
"""How long the canned questions take: of a server, on both engines, and of DataFusion and DuckDB alone on the same files.

    python3 benches/analytics/measure.py TAMSLAKE DATA_FOLDER [--times 3] [--picks 20] [--only NAME,...] [--skip-direct]

TAMSLAKE is a release build, DATA_FOLDER a catalogue that `tamslake synth` made and `tamslake compact` merged; the program
starts a server on it. Every question is asked without limits; then, where it has such parameters, of Flows, of Sources and of
days that are chosen at random, always the same ones. DataFusion and DuckDB read the published tables' Parquet files with the
views and the functions of queries/, in this process, on as many threads. Prints tables in Markdown.
"""

import argparse
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
QUERIES = os.path.join(ROOT, "queries")
sys.path.insert(0, os.path.join(ROOT, "tests", "published"))
import questions

THREADS = 2
MEMORY = "4 GiB"
DAY = 86_400
LARGE = ["flow_segments", "objects"]
# What every run asks besides the defaults: the same moment for all.
NOW = "2100-01-01T00:00:00Z"


class Server:
    """A server of this build on the folder."""

    def __init__(self, program, folder):
        environment = os.environ | {
            "TAMSLAKE__LOG__LEVEL": "warn",
            "TAMSLAKE__QUERY__TIMEOUT": "10m",
            "TAMSLAKE__QUERY__THREADS": str(THREADS),
            "TAMSLAKE__QUERY__MEMORY": MEMORY,
        }
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--data-dir", folder],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stdout:
            if found := re.search(r"listening\s+(http\S+)", line):
                self.base = found[1].rstrip("/")
                break
        else:
            sys.exit("the server did not start")

    def ask(self, sql, engine):
        body = json.dumps({"sql": sql}).encode()
        url = f"{self.base}/sql?engine={engine}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=900) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{error.code} {error.read().decode()}") from None

    def rows(self, sql):
        return self.ask(sql, "datafusion")["rows"]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def live_files(folder):
    """Parquet files of each published table."""
    import deltalake

    tables = os.path.join(folder, "catalog", "tables")
    files = {}
    for table in questions.TABLES:
        uris = deltalake.DeltaTable(os.path.join(tables, table)).file_uris()
        files[table] = [urllib.parse.unquote(uri.removeprefix("file://")) for uri in uris]
    return files


def small_rows(folder, table):
    import deltalake

    return deltalake.DeltaTable(os.path.join(folder, "catalog", "tables", table)).to_pyarrow_table()


def direct_duckdb(program, folder, files):
    import duckdb

    connection = duckdb.connect(config={"threads": THREADS, "memory_limit": MEMORY})
    connection.execute("SET TimeZone = 'UTC'; SET parquet_metadata_cache = true; CREATE SCHEMA raw")
    for table in questions.TABLES:
        if table in LARGE:
            paths = ", ".join("'" + path.replace("'", "''") + "'" for path in files[table])
            connection.execute(f"CREATE VIEW raw.{table} AS FROM read_parquet([{paths}], union_by_name = true)")
        else:
            connection.register("rows", small_rows(folder, table))
            connection.execute(f"CREATE TABLE raw.{table} AS FROM rows")
            connection.unregister("rows")
    connection.execute(questions.run(program, "sql", "--duckdb-setup"))
    connection.execute(questions.STORAGE_BACKENDS)
    return lambda sql: connection.execute(sql).to_arrow_table()


def direct_datafusion(folder, files, links):
    import datafusion
    import pyarrow

    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(THREADS))
    context.sql("CREATE SCHEMA raw").collect()
    for table in questions.TABLES:
        if table in LARGE:
            # It takes one folder, and files of ours are in one with those that are not published any more.
            here = os.path.join(links, table)
            os.mkdir(here)
            for number, path in enumerate(files[table]):
                os.symlink(path, os.path.join(here, f"{number}.parquet"))
            context.register_parquet(f"raw_{table}", here)
        else:
            rows = small_rows(folder, table).combine_chunks()
            batches = rows.to_batches() or [pyarrow.RecordBatch.from_pylist([], rows.schema)]
            context.register_record_batches(f"raw_{table}", [batches])
        context.sql(f"CREATE VIEW raw.{table} AS SELECT * FROM raw_{table}").collect()
    i64, i32, boolean, text = pyarrow.int64(), pyarrow.int32(), pyarrow.bool_(), pyarrow.string()
    moment = pyarrow.timestamp("us")

    def add(name, function, takes, gives):
        def of_arrays(*arrays):
            return pyarrow.array([function(*row) for row in zip(*(array.to_pylist() for array in arrays))], gives)

        context.register_udf(datafusion.udf(of_arrays, takes, gives, "immutable", name))

    # Right for times since 2017 that are not negative, as the answers of this benchmark need no others.
    add("timerange_text", lambda *of: None if of[0] is None else f"[{of[0]}:{of[1]}_{of[3]}:{of[4]})",
        [i64, i64, boolean, i64, i64, boolean], text)
    add("tai_to_utc", lambda seconds, nanoseconds: None if seconds is None else (seconds - 37) * 1_000_000 + nanoseconds // 1000,
        [i64, i64], moment)
    add("utc_to_tai_seconds", lambda at: None if at is None else int(at.timestamp()) + 37, [pyarrow.timestamp("ns")], i64)
    for name in ["service", "sources", "flows", "flow_segments", "flow_coverage", "objects", "object_instances", "profiles",
                 "flow_delete_requests", "webhooks"]:
        with open(os.path.join(QUERIES, "views", f"{name}.sql")) as file:
            context.sql(f"CREATE VIEW {name} AS {file.read()}").collect()
    context.sql(f"CREATE TABLE {questions.STORAGE_BACKENDS.split('TABLE', 1)[1]}".replace("VARCHAR", "STRING")).collect()
    return lambda sql: context.sql(sql).to_arrow_table()


def head(name):
    """Parameters of a question: {name: type}."""
    with open(os.path.join(QUERIES, f"{name}.sql")) as file:
        return {found[1]: found[2] for found in re.finditer(r"^-- Parameter: (\S+) (\S+)", file.read(), re.MULTILINE)}


def timed(ask):
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started


def least(ask, times):
    """The best of some, or why there is none. A question that takes long is not asked again."""
    best = None
    for _ in range(times):
        try:
            seconds = timed(ask)
        except Exception as error:
            return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
        best = seconds if best is None else min(best, seconds)
        if seconds > 20:
            break
    return best, None


def choices(server, picks):
    """Values for the parameters that limit a question, by what they limit it to."""
    dice = random.Random(7)
    ids = lambda table: [row["id"] for row in server.rows(f"SELECT id FROM {table} ORDER BY id")]
    # Channels are on the timeline of TAI; what was imported starts at zero, all on one day.
    [times] = server.rows("SELECT min(start_seconds) AS first, max(end_seconds) AS last FROM flow_segments WHERE start_seconds > 1000000000")
    some = {"flow": dice.sample(ids("flows"), picks), "source": dice.sample(ids("sources"), picks)}
    days = [dice.randrange(times["first"] // DAY, times["last"] // DAY) * DAY for _ in range(picks)]
    return {
        "flow": [{"flow_id": flow} for flow in some["flow"]],
        "source": [{"source_id": source} for source in some["source"]],
        "day": [{"start_time": day, "end_time": day + DAY} for day in days],
    }


def fits(parameters, values):
    return all(name in parameters and (name not in ("start_time", "end_time") or parameters[name] == "seconds") for name in values)


def sql_of(program, name, parameters, values):
    values = dict(values)
    if "now" in parameters:
        values["now"] = NOW
    return questions.question_sql(program, name, [f"{key}={value}" for key, value in values.items()])


def milliseconds(seconds):
    return "-" if seconds is None else f"{seconds * 1000:,.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--times", type=int, default=3, help="how often a question without limits is asked; the best counts")
    parser.add_argument("--picks", type=int, default=20, help="Flows, Sources and days")
    parser.add_argument("--only")
    parser.add_argument("--engine", choices=["DataFusion", "DuckDB"], help="only this one of the server")
    parser.add_argument("--skip-direct", action="store_true")
    parser.add_argument("--skip-whole", action="store_true")
    parser.add_argument("--skip-limited", action="store_true")
    arguments = parser.parse_args()

    names = sorted(file[:-4] for file in os.listdir(QUERIES) if file.endswith(".sql") and not file.startswith("duckdb"))
    if arguments.only:
        names = arguments.only.split(",")
    program, folder = os.path.abspath(arguments.program), os.path.abspath(arguments.folder)
    server = Server(program, folder)
    try:
        subprocess.run([program, "flush", "--url", server.base], check=True, stdout=subprocess.DEVNULL)
        with tempfile.TemporaryDirectory() as links:
            measure(arguments, names, program, folder, server, links)
    finally:
        server.stop()


def measure(arguments, names, program, folder, server, links):
    alone = {}
    if not arguments.skip_direct:
        files = live_files(folder)
        alone = {
            "DataFusion alone": direct_datafusion(folder, files, links),
            "DuckDB alone": direct_duckdb(program, folder, files),
        }
    ours = {
        "DataFusion": lambda sql: server.ask(sql, "datafusion"),
        "DuckDB": lambda sql: server.ask(sql, "duckdb"),
    }
    ours = {name: ask for name, ask in ours.items() if arguments.engine in (None, name)}
    failures = []
    if not arguments.skip_whole:
        measure_whole(arguments, names, program, ours, alone, failures)
    if not arguments.skip_limited:
        measure_limited(arguments, names, program, server, ours, failures)
    for failure in failures:
        print(f"not answered: {failure}")


def measure_whole(arguments, names, program, ours, alone, failures):
    ways = ours | alone
    print(f"\n| whole catalogue, ms | {' | '.join(ways)} | ratio of the best |")
    print("|---|" + "---|" * (len(ways) + 1))
    for name in names:
        sql = sql_of(program, name, head(name), {})
        best = {}
        for way, ask in ways.items():
            best[way], why = least(lambda: ask(sql), arguments.times)
            if why:
                failures.append(f"{name}, {way}: {why}")
        of = lambda some: min((best[way] for way in some if best[way] is not None), default=None)
        mine, theirs = of(ours), of(alone)
        ratio = f"{mine / theirs:.2f}" if mine and theirs else "-"
        print(f"| {name} | {' | '.join(milliseconds(best[way]) for way in ways)} | {ratio} |", flush=True)


def measure_limited(arguments, names, program, server, ours, failures):
    print(f"\n| limited, ms | to a | {' | '.join(f'{way} median / p95 / longest' for way in ours)} |")
    print("|---|---|" + "---|" * len(ours))
    for name in names:
        parameters = head(name)
        for what, values in choices(server, arguments.picks).items():
            if not all(fits(parameters, value) for value in values):
                continue
            cells = []
            for way, ask in ours.items():
                times = []
                for value in values:
                    sql = sql_of(program, name, parameters, value)
                    try:
                        times.append(timed(lambda: ask(sql)))
                    except Exception as error:
                        failures.append(f"{name} of a {what}, {way}: {error}")
                times.sort()
                at = lambda share: times[math.ceil(len(times) * share) - 1]
                cells.append(" / ".join(map(milliseconds, [statistics.median(times), at(0.95), times[-1]])) if times else "-")
            print(f"| {name} | {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
