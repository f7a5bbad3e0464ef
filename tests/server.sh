# For the scripts beside it: a server of its own on a folder of its own. Sourced; sets folder, base and stop_server.

folder=$(mktemp -d)
server=
stop_server() {
    [[ -z $server ]] || kill "$server" 2>/dev/null || true
    [[ -z $server ]] || wait "$server" 2>/dev/null || true
    server=
}
trap 'stop_server; rm -rf "$folder"' EXIT

# start_server BINARY: on $folder/data, with a port that is free; $base is where it listens.
start_server() {
    : >"$folder/out"
    "$1" serve --listen 127.0.0.1:0 --data-dir "$folder/data" >"$folder/out" 2>"$folder/err" &
    server=$!
    base=
    for _ in $(seq 100); do
        base=$(sed -n 's/^ *listening[[:space:]]*\(http[^[:space:]]*\).*/\1/p' "$folder/out")
        [[ -z $base ]] || break
        sleep 0.1
    done
    if [[ -z $base ]]; then
        echo "The server did not start:" >&2
        cat "$folder/out" "$folder/err" >&2
        exit 1
    fi
}
