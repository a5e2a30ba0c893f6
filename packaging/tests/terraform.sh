#!/bin/sh
# The Terraform modules: formatted; validated where their providers can be had; and user-data says what ../cloud-init says.
. "$(dirname "$0")/lib.sh"

command -v terraform >/dev/null || { echo "terraform is not installed: not tested"; exit 0; }
export TF_CLI_CONFIG_FILE=/dev/null CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
modules=$top/packaging/terraform
check "are formatted" terraform fmt -check -recursive "$modules"

cp -r "$modules" "$work/terraform"
for module in 'do' aws gcp azu oci ibm vul ali; do
    cd "$work/terraform/$module"
    if terraform init -no-color -input=false -backend=false >"$work/init" 2>&1; then
        check "$module: valid" terraform validate -no-color
    else
        echo "--   $module: its provider cannot be had here; not validated"
        grep -o 'could not connect[^:]*\|Failed to [^:]*' "$work/init" | head -1 | sed 's/^/     /'
    fi
done

machine yaml
cd "$work/terraform/user-data"
check "user-data: initialized" terraform init -no-color -input=false
check "user-data: valid" terraform validate -no-color
repository=https://packages.example.org/ztnode
keys=$(printf -- '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQGN\n-----END PGP PUBLIC KEY BLOCK-----')
secret=5aca06ff8e:0:$(printf '%0128d' 1):$(printf '%0128d' 2)
# rendered EXAMPLE VARIABLES …: the module's text, read as YAML, is the example with these values.
rendered() {
    example=$1
    shift
    terraform apply -no-color -auto-approve -input=false -var network=37f2b7c94f000001 -var "repository=$repository" \
        -var "repository_key=$keys" "$@" >"$work/apply" 2>&1 ||
        { cat "$work/apply"; return 1; }
    terraform output -raw text >"$machine/root/rendered"
    sed "s/IDENTITY/$secret/; s/--wait\$/--wait=300/; s|REPOSITORY|$repository|; s|\"KEY\"|\"$(echo "$keys" | awk '{ printf "%s%s", between, $0; between = "\\\\n" }')\"|" "$top/packaging/cloud-init/$example" >"$machine/root/example"
    chroot "$machine" cloud-init schema --config-file /root/rendered &&
        chroot "$machine" python3 -c '
import yaml
read = lambda name: yaml.safe_load(open(name))
rendered, example = read("/root/rendered"), read("/root/example")
assert rendered == example, (rendered, example)'
}
check "user-data: an identity of its own" rendered generated.yaml
check "user-data: an identity made beforehand" rendered injected.yaml -var "identity=$secret"
check "user-data: a token" rendered token.yaml -var token=TOKEN
plans() { terraform plan -no-color -input=false -var "repository=$repository" -var "repository_key=$keys" -var network=37f2b7c94f000001 "$@"; }
check "user-data: what is right is taken" plans
check "user-data: a network that is none is refused" not plans -var network=demo
check "user-data: a token that is shell is refused" not plans -var 'token=x; reboot'
check "user-data: a repository that is no URL is refused" not plans -var 'repository=deb [trusted=yes] https://a'
check "user-data: a key that is none is refused" not plans -var 'repository_key=0x12345678'
