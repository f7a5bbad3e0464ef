#!/usr/bin/env bash
# Throws generated requests at a server of this build and holds the answers against its own /openapi.json: no 5xx, no
# status, content type, header or body that the document does not declare.
# Usage: run.sh [BINARY]; SCHEMATHESIS names the program, see requirements.txt.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

target="${CARGO_TARGET_DIR:-$here/../../target}"
binary=$(realpath "${1:-$target/debug/tamslake}")
schemathesis="${SCHEMATHESIS:-schemathesis}"
. "$here/../server.sh"
cd "$folder"

start_server "$binary"

# Something to find: see hooks.py.
send() {
    curl --silent --show-error --fail-with-body --request "$1" "$base$2" --header 'Content-Type: application/json' --data "$3"
}
video='"format":"urn:x-nmos:format:video","codec":"video/h264","container":"video/mp2t","essence_parameters":{"frame_width":1,"frame_height":1,"frame_rate":{"numerator":25}}'
for number in 1 2; do
    flow=10000000-0000-4000-8000-00000000000$number
    send PUT "/flows/$flow" "{\"id\":\"$flow\",\"source_id\":\"20000000-0000-4000-8000-000000000001\",\"tags\":{\"genre\":\"news\"},$video}"
    send POST "/flows/$flow/segments" '{"object_id":"object-1","timerange":"[0:0_1:0)","get_urls":[{"url":"https://media.example/1","label":"cdn"}]}'
done >"$folder/setup"
profile=30000000-0000-4000-8000-000000000001
send POST "/service/profiles/$profile" "{\"id\":\"$profile\",\"flow_metadata\":{$video}}" >>"$folder/setup"
WEBHOOK_ID=$(send POST /service/webhooks '{"url":"https://hook.example.com","events":[],"status":"disabled"}' |
    sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
export WEBHOOK_ID SCHEMATHESIS_HOOKS=hooks PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1

# Not here: /media, whose URLs are signed, and /events, whose answers never end. The same seed makes the same requests.
code=0
timeout --kill-after=10 "${SCHEMATHESIS_SECONDS:-180}" "$schemathesis" run "$base/openapi.json" --url "$base" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing,stateful --max-examples "${SCHEMATHESIS_EXAMPLES:-60}" \
    --exclude-path-regex '^/(media|events)' --suppress-health-check all --request-timeout 20 \
    --seed 8 --generation-database none --no-color || code=$?

if ! kill -0 "$server" 2>/dev/null; then
    echo "The server is gone:" >&2
    tail -50 "$folder/err" >&2
    exit 1
fi
[[ $code -ne 124 ]] || echo "It did not finish in time." >&2
exit "$code"
