#!/bin/sh
# What other programs read, against their schemas: the manifests and the chart (Kubernetes' API, where unknown fields are errors, and
# Helm's own library), the compose file, user-data, and the list of what the programs are made of.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/checks.sh"
. "$here/checkers.sh"

have_checkers || { echo "SKIPPED: no checkers of schemas here (python3-venv, PyPI): nothing was checked"; exit 0; }

kubernetes=$top/packaging/kubernetes
# valid VERSIONS FILE: oldest and newest that the files are written for.
valid() {
    "$checkers/bin/python" -c '
import sys, yaml, kubernetes_validate
for version in sys.argv[1].split():
    with open(sys.argv[2]) as file:
        found = [part for part in yaml.safe_load_all(file) if part]
    assert found
    for part in found:
        kubernetes_validate.validate(part, version, strict=True)' "$1" "$2"
}

check "the sidecar fits the API" valid "1.29 1.37" "$kubernetes/sidecar.yaml"
check "the DaemonSet fits the API" valid "1.25 1.37" "$kubernetes/daemonset.yaml"
sed 's/hostNetwork: true/hostNetwrok: true/' "$kubernetes/daemonset.yaml" >"$work/wrong.yaml"
check "a slip is found" not valid 1.37 "$work/wrong.yaml"

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
render() { "$checkers/bin/python" "$work/helm.py" "$kubernetes/chart" "$2" "$work/$1.yaml"; }
image='"image": {"repository": "registry.example.org/ztnode"}'
check "Helm has nothing to say against the chart" "$checkers/bin/python" -c '
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
check "adds no capability" not grep -q 'add:' "$work/controller.yaml"
check "an image must be named" not render none '{"members": {"networks": ["37f2b7c94f000001"]}}'
check "and a network" not render none "{$image}"
check "one that is none is refused" not render none "{$image, \"members\": {\"networks\": [\"37f2\"]}}"
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$top/Cargo.toml")
check "the chart is of this version" grep -qx "appVersion: $version" "$kubernetes/chart/Chart.yaml"
of_other_versions() { grep -h 'image: .*/ztnode:' "$kubernetes"/*.yaml | grep -v ":$version\$"; }
check "and so are the manifests" not of_other_versions

check "the compose file fits its schema" "$checkers/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$top/packaging/oci/compose.yaml"

# cloud-init's own schema, out of its package: nothing is installed.
config=$checkers/cloud-config.json
fetch_schema() {
    (cd "$work" && apt-get download -q cloud-init) >"$work/apt" 2>&1 &&
        dpkg-deb --fsys-tarfile "$work"/cloud-init_*.deb 2>"$work/apt" | tar -xO --wildcards '*/schema-cloud-config-v1.json' >"$config.new" 2>"$work/apt" &&
        mv "$config.new" "$config"
}
if [ -e "$config" ] || fetch_schema; then
    for file in "$top"/packaging/cloud-init/*.yaml; do
        check "$(basename "$file"): cloud-init takes it" "$checkers/bin/check-jsonschema" --schemafile "$config" "$file"
    done
    sed 's/^runcmd:/runcmd: 3\nmore:/' "$top/packaging/cloud-init/token.yaml" >"$work/wrong.yaml"
    check "a slip is found" not "$checkers/bin/check-jsonschema" --schemafile "$config" "$work/wrong.yaml"
else
    tail -1 "$work/apt"
    echo "SKIPPED: the package cloud-init cannot be fetched: user-data was not checked"
fi

SOURCE_DATE_EPOCH=0 "$top/packaging/sbom" "$(rustc -vV | sed -n 's/^host: //p')" >"$work/list.json"
check "the list of what the programs are made of is CycloneDX" valid_list "$work/list.json"
check "and has them all" jq -e '.components | any(.name == "sqlite") and any(.name == "tokio" and .hashes and .purl and .licenses)' "$work/list.json"
jq '.components[0].type = "crate"' "$work/list.json" >"$work/wrong.json"
check "a slip is found" not valid_list "$work/wrong.json"
echo "$checks passed, 0 failed"
