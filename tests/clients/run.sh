#!/usr/bin/env bash
# Asks canned questions of a server of this build over HTTP, PostgreSQL's protocol and Flight SQL, and of its published tables
# in DuckDB, with the clients that people use, and compares the answers row by row.
# Usage: run.sh [BINARY]; CLIENTS_PYTHON names a Python with the packages of requirements.txt. Needs curl;
# without psql it takes the one that a package brings along.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

target="${CARGO_TARGET_DIR:-$here/../../target}"
binary=$(realpath "${1:-$target/debug/tamslake}")
python="${CLIENTS_PYTHON:-python3}"
. "$here/../server.sh"

# Not by itself: the version that is read is the one that was asked for.
export TAMSLAKE__CATALOG__PUBLISH_INTERVAL=0s TAMSLAKE__LOG__LEVEL=warn
export TAMSLAKE__QUERY__POSTGRES_LISTEN=127.0.0.1:0 TAMSLAKE__QUERY__FLIGHT_LISTEN=127.0.0.1:0
"$binary" synth --data-dir "$folder/data" --flows 60 --segments 20000 --seed 7
start_server "$binary"

# Where it listens, from what it says at its start.
said() {
    local address
    for _ in $(seq 50); do
        address=$(sed -n "s/^ *$1[[:space:]]*\(grpc:\/\/\)\{0,1\}\([^[:space:]]*\).*/\2/p" "$folder/out")
        [[ -z $address ]] || break
        sleep 0.1
    done
    [[ -n $address ]] || { echo "The server did not say where its $1 is" >&2 && return 1; }
    printf '%s\n' "$address"
}
postgres=$(said postgres)
flight=$(said "flight sql")

# A webhook and tags, so that there are lists, maps and what CSV has to quote.
send() { curl --silent --fail --output /dev/null -H 'Content-Type: application/json' "$@"; }
flow=$(curl --silent "$base/flows?limit=1" | sed 's/.*"id":"\([^"]*\)".*/\1/')
send -X PUT "$base/flows/$flow/label" -d '"Häuser, \"1\"\nand more"'
send -X PUT "$base/flows/$flow/tags/places" -d '["Köln", "a,b", ""]'
send "$base/service/webhooks" -d '{"url": "https://hook.example.com", "events": ["flows/created"], "status": "disabled"}'
"$binary" flush --url "$base"

export PYTHONDONTWRITEBYTECODE=1
"$python" "$here/clients.py" "$binary" "$base" --postgres "$postgres" --flight "$flight" \
    --tables "$folder/data/catalog/tables" --as-of 10 || {
    cat "$folder/err" >&2
    exit 1
}
