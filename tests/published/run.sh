#!/usr/bin/env bash
# Reads the published tables of a catalogue that was made, edited and flushed through this build, with programs that are not
# ours, and holds their answers against the API's. Spark answers canned questions, too, as DuckDB does.
# Usage: run.sh [BINARY]; PUBLISHED_PYTHON names a Python with the packages of requirements.txt. Spark, which is large, is
# asked when TAMSLAKE_PYSPARK=1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

target="${CARGO_TARGET_DIR:-$here/../../target}"
binary=$(realpath "${1:-$target/debug/tamslake}")
python="${PUBLISHED_PYTHON:-python3}"
readers=deltalake,duckdb,polars
[[ ${TAMSLAKE_PYSPARK:-} != 1 ]] || readers+=,spark
. "$here/../server.sh"

# Not by itself: every version is one that was asked for.
export TAMSLAKE__CATALOG__PUBLISH_INTERVAL=0s TAMSLAKE__LOG__LEVEL=warn TAMSLAKE__CATALOG__MAX_DELETE_SEGMENTS=150
"$binary" synth --data-dir "$folder/data" --flows 40 --segments 20000 --seed 3
start_server "$binary"

tables="$folder/data/catalog/tables"
export PYTHONDONTWRITEBYTECODE=1
"$python" "$here/catalogue.py" "$base" "$binary" "$folder/expected.json" || {
    cat "$folder/err" >&2
    exit 1
}
echo "while the server runs:"
"$python" "$here/read.py" "$tables" "$folder/expected.json" --readers "$readers"
if [[ ${TAMSLAKE_PYSPARK:-} == 1 ]]; then
    echo "canned questions in Spark and in DuckDB:"
    "$python" "$here/spark_questions.py" "$tables" "$binary"
fi

# Several files and deletion vectors, or little was shown.
for table in flow_segments objects; do
    files=$(find "$tables/$table/data" -name '*.parquet' | wc -l)
    grep --quiet --recursive deletionVector "$tables/$table/_delta_log" && [[ $files -gt 1 ]] || {
        echo "$table has $files files, or none with deleted rows" >&2
        exit 1
    }
done
if grep --recursive --quiet -e the-secret-of-a-webhook -e api_key_value "$tables"; then
    echo "a secret was published" >&2
    exit 1
fi

# The same from a folder that no server runs on, with fewer files.
stop_server
"$binary" flush --data-dir "$folder/data"
echo "after a flush without a server:"
"$python" "$here/read.py" "$tables" "$folder/expected.json" --readers deltalake
