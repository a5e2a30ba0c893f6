#!/bin/sh
# The compose file and what is for Kubernetes, against the schemas: of Kubernetes' API (unknown fields are errors), of compose files,
# and by Helm's own library. The checkers come from PyPI, in fixed versions, into target/tools.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
tools=$top/target/tools/schemas
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
wanted="kubernetes-validate==1.37.0 helm-python-sdk==0.2.2 check-jsonschema==0.39.0"

if [ "$(cat "$tools/wanted" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$tools"
    # shellcheck disable=SC2086
    if ! { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check $wanted; } 2>"$work/log"; then
        tail -1 "$work/log"
        echo "--   no checkers of schemas here (python3-venv, PyPI): not checked"
        exit 0
    fi
    echo "$wanted" >"$tools/wanted"
fi

kubernetes=$top/packaging/kubernetes
check() {
    what=$1
    shift
    "$@" >"$work/output" 2>&1 || { cat "$work/output"; die "$what"; }
    echo "ok   $what"
}
# Oldest and newest that the files are written for.
valid() {
    for version in $1; do
        "$tools/bin/kubernetes-validate" --strict --quiet --kubernetes-version "$version" "$2" || return 1
    done
}
refused() { ! "$@"; }

check "the sidecar fits the API" valid "1.29 1.37" "$kubernetes/sidecar.yaml"
check "the DaemonSet fits the API" valid "1.25 1.37" "$kubernetes/daemonset.yaml"
sed 's/hostNetwork: true/hostNetwrok: true/' "$kubernetes/daemonset.yaml" >"$work/wrong.yaml"
check "a slip is found" refused valid 1.37 "$work/wrong.yaml"

cat >"$work/helm.py" <<'PYTHON'
import json, sys
import helm_python as helm

chart, values, out = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
with helm.Chart.load(chart) as loaded:
    text = loaded.render(values, name="demo", namespace="net")
if not isinstance(text, str):
    text = "\n---\n".join(text.values())
if "kind:" not in text:
    sys.exit("nothing was rendered")
open(out, "w").write(text)
PYTHON
# render NAME VALUES
render() { "$tools/bin/python" "$work/helm.py" "$kubernetes/chart" "$2" "$work/$1.yaml"; }
image='"image": {"repository": "registry.example.org/ztnode"}'
check "Helm has nothing to say against the chart" "$tools/bin/python" -c '
import sys, helm_python as helm
said = helm.lint(sys.argv[1])
print(said)
sys.exit(bool(said["errors"]) or any(message["severity"] > 1 for message in said["messages"]))' "$kubernetes/chart"
check "members by ID" render members "{$image, \"members\": {\"networks\": [\"37f2b7c94f000001\"]}}"
check "fit the API" valid "1.25 1.37" "$work/members.yaml"
check "members by a secret, with a planet" render secret \
    "{$image, \"members\": {\"networksSecret\": \"ztnode\"}, \"planet\": {\"configMap\": \"planet\"}}"
check "fit the API" valid "1.25 1.37" "$work/secret.yaml"
check "are told the file" grep -q 'ZEROTIER_JOIN_NETWORKS_FILE' "$work/secret.yaml"
check "a controller" render controller \
    "{$image, \"members\": {\"enabled\": false}, \"controller\": {\"enabled\": true, \"identitySecret\": \"controller\"}}"
check "fits the API" valid "1.25 1.37" "$work/controller.yaml"
check "adds no capability" refused grep -q 'add:' "$work/controller.yaml"
check "an image must be named" refused render none '{"members": {"networks": ["37f2b7c94f000001"]}}'
check "and a network" refused render none "{$image}"
check "one that is none is refused" refused render none "{$image, \"members\": {\"networks\": [\"37f2\"]}}"
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$top/Cargo.toml")
check "the chart is of this version" grep -qx "appVersion: $version" "$kubernetes/chart/Chart.yaml"
of_other_versions() { grep -h 'image: .*/ztnode:' "$kubernetes"/*.yaml | grep -v ":$version\$"; }
check "and so are the manifests" refused of_other_versions

check "the compose file fits its schema" "$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$top/packaging/oci/compose.yaml"
