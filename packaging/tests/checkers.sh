# shellcheck shell=sh
# Programs that check formats: of Kubernetes' API, of Helm's charts, of compose files, of lists of parts. They come from PyPI, in fixed
# versions, into target/tools. Sourced; $top is the repository, $work a folder that the test has made.
#
#   have_checkers         puts them there, once; without python3-venv or PyPI it fails and says why
#   $checkers/bin/…       the programs
#   valid_list FILE       it is what CycloneDX 1.5 has
# shellcheck disable=SC2154
checkers=$top/target/tools/checkers

have_checkers() {
    wanted="kubernetes-validate==1.37.0 helm-python-sdk==0.2.2 check-jsonschema==0.39.0 cyclonedx-python-lib[json-validation]==11.12.0"
    [ "$(cat "$checkers/wanted" 2>/dev/null)" != "$wanted" ] || return 0
    rm -rf "$checkers"
    # Optional: it builds a grammar of URLs whenever one of the programs starts, which takes longer than all else.
    unwanted=rfc3987-syntax
    # shellcheck disable=SC2086
    if {
        python3 -m venv "$checkers" && "$checkers/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 $wanted &&
            "$checkers/bin/pip" uninstall --quiet --disable-pip-version-check --yes $unwanted
    } 2>"$work/pip"; then
        echo "$wanted" >"$checkers/wanted"
    else
        tail -1 "$work/pip"
        return 1
    fi
}

valid_list() {
    "$checkers/bin/python" -c '
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
with open(sys.argv[1]) as file:
    sys.exit(JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read()))' "$1"
}
