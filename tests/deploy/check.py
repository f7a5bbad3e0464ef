#!/usr/bin/env python3
"""Checks the parts of the repository that are not Rust: chart, compose file, Dockerfile, example configuration.

Usage: check.py [--require-helm]        Needs Python 3.11 and PyYAML; uses `helm` if it is on the PATH.

It reads the files, renders the chart with several sets of values, and checks that they agree with one another and with
Cargo.toml and rust-toolchain.toml. It builds no image, starts no container and asks no Kubernetes API server: a field
that a cluster would refuse, or an image that does not start, is not noticed here. Without helm the templates are not
rendered, and it says so.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "tamslake"
results = []


def check(sentence, holds, detail=""):
    results.append(bool(holds))
    print(f"{'ok  ' if holds else 'FAIL'} {sentence}{'' if holds or not detail else f': {detail}'}")


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def is_known(name):
    """Whether an environment variable names a key of config.example.toml; None for variables that are not ours."""
    if not name.startswith("TAMSLAKE__"):
        return None
    return name.removeprefix("TAMSLAKE__").lower().replace("__", ".") in keys


cargo = tomllib.loads(text("Cargo.toml"))["package"]
example = tomllib.loads(text("config.example.toml"))
# A key without a default stands in the file as a comment: `# public_url = ...`.
keys, section = set(), ""
for line in text("config.example.toml").splitlines():
    if found := re.match(r"\[(\w+)\]$", line):
        section = found[1]
    elif found := re.match(r"(?:# )?(\w+) = ", line):
        keys.add(f"{section}.{found[1]}")

check("config.example.toml has keys in sections only", all(isinstance(part, dict) for part in example.values()))

# Dockerfile
dockerfile = text("Dockerfile")
channel = tomllib.loads(text("rust-toolchain.toml"))["toolchain"]["channel"]
builder = re.search(r"^FROM rust:([\d.]+)", dockerfile, re.MULTILINE)
check("the image is built with the pinned toolchain", builder and f"{channel}.".startswith(f"{builder[1]}."), channel)
user = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
check("the image ends as one numeric user that is not root", len(user) == 1 and user[0][0] != "0", user)
unknown = [name for name in re.findall(r"\b(TAMSLAKE__\w+)=", dockerfile) if not is_known(name)]
check("the image sets known keys only", not unknown, unknown)

# DuckDB's library: crate 1.MmmPP.x binds DuckDB M.m.P
manifest = tomllib.loads(text("Cargo.toml"))
digits = int(re.match(r"=1\.(\d+)\.", manifest["dependencies"]["duckdb"])[1])
bound = f"{digits // 10000}.{digits // 100 % 100}.{digits % 100}"
fetch = text("scripts/fetch-duckdb")
fetched = re.search(r"^version=([\d.]+)-r\.\d+$", fetch, re.MULTILINE)
check("the DuckDB library is of the version that the crate binds", fetched and fetched[1] == bound, bound)
sums = re.findall(r"^((?:linux|darwin)-\w+) +[0-9a-f]{64} libduckdb\.(?:so|dylib)$", fetch, re.MULTILINE)
check("it is pinned for each platform", sorted(sums) == ["darwin-arm64", "darwin-x64", "linux-arm64", "linux-x64"], sums)
ignored = text(".dockerignore").splitlines()
missing = [part for part in (".cargo", "build.rs", "scripts", "src", "schemas", "Cargo.lock") if f"!{part}" not in ignored]
check("the image's builder gets what the build reads", not missing, missing)
check(
    "the image has DuckDB's library where the binary looks for it",
    "/usr/local/bin/tamslake" in dockerfile and "/usr/local/lib/libduckdb.so" in dockerfile,
)

# docker-compose.yml
compose = yaml.safe_load(text("docker-compose.yml"))
service = compose["services"]["tamslake"]
unknown = [name for name in service["environment"] if is_known(name) is False]
check("the compose file sets known keys only", not unknown, unknown)
volumes = {mount.split(":")[0] for mount in service["volumes"]}
check("the compose file declares each volume that it mounts", volumes == set(compose["volumes"]), volumes)
check(
    "the compose file publishes the port on this machine only",
    all(p.startswith("127.0.0.1:") for p in service["ports"]),
)

# The chart, as files
chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
check("the chart's appVersion is the crate's version", chart["appVersion"] == cargo["version"], chart["appVersion"])


def unknown_settings(config):
    return [
        f"{part}.{key}" for part, table in tomllib.loads(config).items() for key in table if f"{part}.{key}" not in keys
    ]


check(
    "values.yaml configures known keys only", not unknown_settings(values["config"]), unknown_settings(values["config"])
)
check(
    "the chart runs as the image's user",
    user
    and (str(values["podSecurityContext"]["runAsUser"]), str(values["podSecurityContext"]["runAsGroup"])) == user[0],
)


# The chart, rendered
def helm(*arguments):
    with tempfile.TemporaryDirectory() as home:  # whatever helm keeps for its user stays out of this
        env = os.environ | {f"HELM_{name}_HOME": home for name in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(["helm", *arguments], check=False, capture_output=True, text=True, env=env, timeout=120)


def render(name, settings):
    arguments = [argument for setting in settings for argument in ("--set-json", setting)]
    run = helm("template", "check", str(CHART), *arguments)
    check(f"the chart renders ({name})", run.returncode == 0, run.stderr.strip())
    if run.returncode != 0:
        return
    objects = [document for document in yaml.safe_load_all(run.stdout) if document]
    by_kind = {document["kind"]: document for document in objects}
    check(f"one object of a kind ({name})", len(by_kind) == len(objects))
    stateful, net = by_kind["StatefulSet"]["spec"], by_kind["Service"]["spec"]
    pod = stateful["template"]["spec"]
    [container] = pod["containers"]

    labels = stateful["template"]["metadata"]["labels"].items()
    check(
        f"the selectors find the pod ({name})",
        labels >= stateful["selector"]["matchLabels"].items() and labels >= net["selector"].items(),
    )
    ports = {port["name"] for port in container["ports"]}
    targets = {port["targetPort"] for port in net["ports"]}
    probed = {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    check(f"service and probes use the container's port ({name})", targets | probed <= ports)
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    offered = [volume["name"] for volume in pod["volumes"]]
    offered += [claim["metadata"]["name"] for claim in stateful.get("volumeClaimTemplates", [])]
    check(f"each volume is mounted and each mount has one volume ({name})", sorted(mounted) == sorted(offered), offered)
    unknown = [entry["name"] for entry in container["env"] if is_known(entry["name"]) is False]
    check(f"the pod sets known keys only ({name})", not unknown, unknown)
    config = by_kind["ConfigMap"]["data"]["config.toml"]
    check(f"the rendered configuration is known TOML ({name})", not unknown_settings(config))
    secure = container["securityContext"]
    check(
        f"the container runs without root and with a read-only root file system ({name})",
        pod["securityContext"]["runAsNonRoot"]
        and secure["readOnlyRootFilesystem"]
        and not secure["allowPrivilegeEscalation"],
    )
    if ingress := by_kind.get("Ingress"):
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        same = backend["name"] == by_kind["Service"]["metadata"]["name"]
        check(
            f"the ingress leads to the service ({name})",
            same and backend["port"]["name"] in {port["name"] for port in net["ports"]},
        )


if shutil.which("helm"):
    lint = helm("lint", "--strict", str(CHART))
    check("helm lint --strict is content", lint.returncode == 0, lint.stdout + lint.stderr)
    render("defaults", [])
    render("ingress with TLS", ["ingress.enabled=true", 'ingress.tlsSecret="cert"', 'ingress.className="nginx"'])
    render("no persistence", ["persistence.enabled=false"])
    render(
        "everything set",
        [
            'env=[{"name":"TAMSLAKE__MEDIA__LABEL","value":"cluster"}]',
            'imagePullSecrets=[{"name":"pull"}]',
            'nodeSelector={"disk":"ssd"}',
            'podAnnotations={"a":"b"}',
            'service.annotations={"a":"b"}',
            'ingress={"enabled":true,"annotations":{"a":"b"}}',
            'tolerations=[{"key":"k","operator":"Exists"}]',
            'persistence.storageClass="fast"',
            'config="[http]\\npublic_url = \\"https://tams.example.com\\"\\n"',
        ],
    )
    refused = helm("template", "check", str(CHART), "--set", "replicas=2")
    check("two replicas are refused with the reason", refused.returncode != 0 and "one process" in refused.stderr)
elif "--require-helm" in sys.argv[1:]:
    check("helm is on the PATH", False)
else:
    print("NOT CHECKED: the chart's templates (helm is not on the PATH)")

failed = results.count(False)
print(f"{len(results) - failed} passed, {failed} failed")
sys.exit(1 if failed else 0)
