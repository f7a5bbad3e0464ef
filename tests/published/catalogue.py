#!/usr/bin/env python3
"""Edits a running server's synthetic catalogue, and writes down what its API then shows, as questions for read.py.

    python3 tests/published/catalogue.py BASE_URL TAMSLAKE EXPECTED.json

TAMSLAKE is the program, which is asked to `flush --url` between rounds of edits, so that tables consist of several files with
deleted rows in each. Nothing is random. The last flush is the one that EXPECTED.json belongs to.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

SECRET = "the-secret-of-a-webhook"


class Server:
    def __init__(self, base, program):
        self.base, self.program = base, program

    def call(self, method, path, body=None):
        """The answer's JSON and headers."""
        data = None if body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else self.base + path
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return (json.loads(text) if text else None), answer.headers
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")

    def everything(self, path):
        """All pages of a list."""
        url, items = path + ("&" if "?" in path else "?") + "limit=1000", []
        while url:
            page, headers = self.call("GET", url)
            items += page
            link = headers.get("Link", "")
            following = [part for part in link.split(",") if 'rel="next"' in part]
            url = following[0].split("<")[1].split(">")[0] if following else None
        return items

    def segments(self, flow, timerange=None):
        query = "?timerange=" + urllib.parse.quote(timerange) if timerange else ""
        return self.everything(f"/flows/{flow}/segments{query}")

    def flush(self):
        done = subprocess.run(
            [self.program, "flush", "--url", self.base, "--json"], check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)["seq"]

    def settle(self):
        """Flushes until nothing that goes on in the background writes any more."""
        before = None
        while (seq := self.flush()) != before:
            before = seq
            time.sleep(0.5)
        return seq


def ends(segment):
    start, end = segment["timerange"].strip("[]()").split("_")
    return seconds(start), seconds(end)


def seconds(timestamp):
    """Whole seconds, rounded down."""
    sign = -1 if timestamp.startswith("-") else 1
    whole, nanoseconds = timestamp.lstrip("-").split(":")
    return int(whole) if sign > 0 else -int(whole) - (1 if int(nanoseconds) else 0)


def edit(server):
    flows = [flow["id"] for flow in server.everything("/flows")]
    long = sorted(flow for flow in flows if len(server.segments(flow)) > 200)
    server.flush()
    # Stretches of timelines, and all that uses one Object.
    for place, flow in enumerate(long[:6]):
        segments = server.segments(flow)
        first, last = ends(segments[20 + place])[0], ends(segments[120])[0]
        server.call("DELETE", f"/flows/{flow}/segments?timerange=" + urllib.parse.quote(f"[{first}:0_{last}:0)"))
        used = urllib.parse.quote(server.segments(flow)[5]["object_id"])
        server.call("DELETE", f"/flows/{flow}/segments?object_id={used}")
    server.flush()
    # More segments, behind the others, with Objects of their own.
    for flow in long[:6]:
        segments = server.segments(flow)
        if segments[0].get("init_object"):
            continue
        for number in range(1, 60):
            start = ends(segments[-1])[1] + 2 * number
            segment = {"object_id": f"late-{number}-{flow}", "timerange": f"[{start}:0_{start + 2}:0)"}
            segment["get_urls"] = [{"url": "https://media.example/late", "label": "original"}]
            server.call("POST", f"/flows/{flow}/segments", segment)
    # Newer rows of Objects.
    copied = sorted({segment["object_id"] for flow in long[:6] for segment in server.segments(flow)[:10]})
    instances = ["/objects/" + urllib.parse.quote(used, safe="") + "/instances" for used in copied]
    for path in instances:
        server.call("POST", path, {"url": "https://media.example/copy", "label": "copy"})
    server.flush()
    for path in instances[::2]:
        server.call("DELETE", path + "?label=copy")
    server.call("DELETE", f"/flows/{long[-1]}")
    server.call("DELETE", f"/flows/{long[-2]}/segments")
    profile = "30000000-0000-4000-8000-000000000001"
    audio = {
        "format": "urn:x-nmos:format:audio",
        "codec": "audio/aac",
        "container": "video/mp2t",
        "essence_parameters": {"sample_rate": 48000, "channels": 2},
    }
    server.call("POST", f"/service/profiles/{profile}", {"id": profile, "label": "p", "flow_metadata": audio})
    webhook = {"url": "https://hook.example.com", "events": ["flows/created"], "status": "disabled"}
    server.call("POST", "/service/webhooks", {**webhook, "api_key_name": "X-Key", "api_key_value": SECRET})
    return long


def questions(server, long):
    flows = server.everything("/flows")
    by_flow = {flow["id"]: server.segments(flow["id"]) for flow in flows}
    segments = [segment for of_flow in by_flow.values() for segment in of_flow]
    init = {segment["init_object"]["object_id"] for segment in segments if segment.get("init_object")}
    media = {segment["object_id"] for segment in segments}

    def total(some, place):
        return [len(some), sum(ends(segment)[place] for segment in some)]

    one = long[0]
    middle = ends(by_flow[one][60])[0]
    timerange, start, end = f"[{middle}:0_{middle + 300}:0)", middle, middle + 300
    overlaps = f"start_seconds < {end} and (end_seconds > {start} or (end_seconds = {start} and end_nanoseconds > 0))"
    count = "select count(*) as a from t"
    ask = lambda sql, *answer: {"sql": sql, "answer": list(answer)}
    requests = server.everything("/flow-delete-requests")
    return {
        "flow_segments": [
            ask("select count(*) as a, sum(start_seconds) as b from t", *total(segments, 0)),
            ask("select count(*) as a, sum(end_seconds) as b from t", *total(segments, 1)),
            ask("select count(distinct object_id) as a from t", len(media)),
            ask("select count(distinct flow_id) as a from t", sum(1 for some in by_flow.values() if some)),
            ask(
                f"select count(*) as a, sum(start_seconds) as b from t where flow_id = '{one}' and {overlaps}",
                *total(server.segments(one, timerange), 0),
            ),
        ],
        "objects": [
            ask(f"{count} where kind = 'media'", len(media)),
            ask(f"{count} where kind = 'init'", len(init)),
            ask(f"{count} where deleted is true or condemned is true", 0),
        ],
        "flows": [
            ask(count, len(flows)),
            ask(f"{count} where generation > 0", sum(1 for flow in flows if flow.get("generation", 0) > 0)),
            ask(f"{count} where segments_updated is null", sum(1 for flow in flows if "segments_updated" not in flow)),
        ],
        "sources": [ask(count, len(server.everything("/sources")))],
        "profiles": [ask(count, len(server.everything("/service/profiles")))],
        "webhooks": [ask("select count(*) as a, min(api_key_name) as b from t", 1, "X-Key")],
        "service": [ask(count, 1)],
        "flow_delete_requests": [ask(count, len(requests))],
    }


def main():
    base, program, expected = sys.argv[1:]
    server = Server(base, program)
    long = edit(server)
    seq = server.settle()
    answers = questions(server, long)
    if server.settle() != seq:
        sys.exit("the catalogue changed while it was asked")
    with open(expected, "w", encoding="utf-8") as file:
        json.dump(answers, file, indent=2)


if __name__ == "__main__":
    main()
