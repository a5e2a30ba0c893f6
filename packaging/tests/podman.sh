#!/bin/sh
# The image in podman, beside a root and controller in a namespace: the official image's conventions, health, secrets, SIGTERM, and a
# controller without capabilities. Without podman nothing of it is run.
. "$(dirname "$0")/lib.sh"
. "$here/controller.sh"

if ! command -v podman >/dev/null; then
    echo "--   no podman here: the image is not run"
    exit 0
fi
# Machines that may not raise limits run containers with lower ones; runc is content with any arrangement of cgroups.
cat >"$work/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
CONF
web=
# In memory where there is room: an engine waits for the disk at every step.
storage=$(mktemp -d /dev/shm/ztnode-podman.XXXXXX 2>/dev/null || mktemp -d /var/tmp/ztnode-podman.XXXXXX)
pod() {
    CONTAINERS_CONF=$work/containers.conf podman --root "$storage/storage" --runroot "$storage/run" --tmpdir "$storage/tmp" \
        --storage-driver vfs "$@"
}
leave_podman() {
    # shellcheck disable=SC2154 # Of lib.sh.
    if [ "$status" != 0 ]; then
        for name in $(pod ps --all --format '{{.Names}}'); do
            echo "-- log of container $name:"
            pod logs "$name" 2>&1 | tail -20
        done
    fi
    pod rm --all --force --time 0 >/dev/null 2>&1 || true
    [ -z "$web" ] || kill "$web" 2>/dev/null || true
    end_lab
    # The engine mounts its storage on itself.
    awk -v below="$storage/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount --lazy || true
    rm -rf "$storage" || true
    find /sys/fs/cgroup -depth -type d -name 'libpod*' -exec rmdir {} + 2>/dev/null || true
}
on_exit=leave_podman

# start NAME ARGUMENTS: a container in the namespace of the same name, with the lab's planet.
start() {
    name=$1
    shift
    pod run --detach --name "$name" --network "ns:/run/netns/$space-$name" --volume "$lab_home/planet:/run/planet:ro" \
        --env ZTNODE_PLANET=/run/planet "$@"
}
member="--device /dev/net/tun --cap-add NET_ADMIN"
image=localhost/ztnode-test
pid() { pod inspect --format '{{.State.Pid}}' "$1"; }
tool() { name=$1; shift; pod exec "$name" ztnode-cli "$@"; }
healthy() { pod healthcheck run "$1"; }
ill() { ! pod healthcheck run "$1"; }
address_of() { tool "$1" info | cut -d' ' -f3; }
same_node() { [ "$(address_of "$1")" = "$2" ]; }
says() { pod exec "$1" ztnode-cli container health | grep -q "$2"; }
in_space() { where=$1; shift; ip netns exec "$space-$where" "$@"; }
# Without the time that the engine takes for itself.
ends() {
    kill -TERM "$1" || return 1
    while [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do sleep 0.02; done
}
ended_well() { [ "$(pod wait "$1")" = 0 ]; }

echo "-- the image"
check "builds" pod build --format docker --tag ztnode-test "$packages/oci"
size=$(pod image inspect --format '{{.Size}}' $image)
check "has less than 20 MB" test "$size" -lt 20000000
printf '     %s octets\n' "$size"

start_lab
echo "-- the official command: a network as the argument"
plug one 198.51.100.11
# shellcheck disable=SC2086
check "starts" start one $member $image "$network"
check "the tool answers" eventually 60 tool one info
one=$(address_of one)
check "is ill until it is let in" eventually 60 ill one
check "and says what is missing" says one "member authorize $network $one"
lab member authorize "$network" "$one" >/dev/null
check "is healthy as a member" eventually 60 healthy one
check "as podman sees it" test "$(pod inspect --format '{{.State.Health.Status}}' one)" = healthy
check "is one process" test "$(cat "/proc/$(pid one)/comm")" = ztnode
check "which has given up root" grep -q '^Uid:.9993.9993' "/proc/$(pid one)/status"
check "the old names are there" pod exec one zerotier-cli get "$network" status

echo "-- the environment: identity, token, networks; the official image's volume"
plug two 198.51.100.12
lab identity new --out-secret "$work/two.secret" --out-public "$work/two.public" >/dev/null
two=$(cut -d: -f1 "$work/two.public")
token=$(lab token create "$network" --name two 2>/dev/null)
printf '%s' "$token" >"$work/two.token"
# shellcheck disable=SC2086
check "starts" start two $member --volume two:/var/lib/zerotier-one --volume "$work/two.token:/run/secrets/token:ro" \
    --env ZEROTIER_API_SECRET=the-api-secret --env ZEROTIER_IDENTITY_PUBLIC="$(cat "$work/two.public")" \
    --env ZEROTIER_IDENTITY_SECRET="$(cat "$work/two.secret")" --env ZEROTIER_JOIN_NETWORKS_FILE=/run/secrets/token $image
check "is a member by its token" eventually 60 healthy two
check "with the identity that it was given" test "$(address_of two)" = "$two"
check "and the token of the API" tool two -p9993 -T the-api-secret info
check "which others have not" not tool two -p9993 -T another info
check "no secret is in its environment" not grep -qaE 'SECRET|TOKEN|JOIN' "/proc/$(pid two)/environ"
cut -d: -f4 "$work/two.secret" >"$work/secrets"
printf 'the-api-secret\n%s\n' "$(cut -d_ -f4 "$work/two.token")" >>"$work/secrets"
check "none in the list of processes" not sh -c "cat /proc/[0-9]*/cmdline 2>/dev/null | grep -qaF -f '$work/secrets'"
pod logs two >"$work/two.log" 2>&1
check "none in the log" not grep -qaF -f "$work/secrets" "$work/two.log"
check "members reach each other" eventually 60 in_space one ping -c 1 -W 2 "$(tool two get "$network" ip4)"

echo "-- a planet by https"
plug six 198.51.100.16
plug seven 198.51.100.17
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority -keyout "$work/authority.key" \
    -out "$work/authority.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=web -keyout "$work/web.key" -out "$work/web.csr" 2>/dev/null
echo subjectAltName=IP:198.51.100.1 >"$work/web.ext"
openssl x509 -req -in "$work/web.csr" -CA "$work/authority.pem" -CAkey "$work/authority.key" -CAcreateserial -days 2 \
    -extfile "$work/web.ext" -out "$work/web.pem" 2>/dev/null
mkdir "$work/web"
cp "$lab_home/planet" "$work/web/"
in_space lab python3 -c 'import http.server, os, ssl, sys
certificate, key, folder = sys.argv[1:]
os.chdir(folder)
server = http.server.ThreadingHTTPServer(("198.51.100.1", 8443), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()' "$work/web.pem" "$work/web.key" "$work/web" >"$work/web.log" 2>&1 &
web=$!
by_url=https://198.51.100.1:8443/planet
check "is served" eventually 30 in_space lab curl -fs --cacert "$work/authority.pem" -o /dev/null $by_url
sum=$(sha256sum <"$lab_home/planet" | cut -d' ' -f1)
# once NAME ARGUMENTS: a container there, which must fail.
once() {
    where=$1
    shift
    ! pod run --rm --no-healthcheck --network "ns:/run/netns/$space-$where" "$@" >"$work/refused" 2>&1
}
check "by a server that nobody known vouches for" once six --env "ZTNODE_PLANET=$by_url#sha256=$sum" $image
check "is refused: the image knows certificate authorities, and not this one" grep -q 'no secure connection.*UnknownIssuer' "$work/refused"
authority="--volume $work/authority.pem:/run/authority.pem:ro --env SSL_CERT_FILE=/run/authority.pem"
# shellcheck disable=SC2086
check "another file than was meant" once six $authority --env "ZTNODE_PLANET=$by_url#sha256=$(echo "$sum" | tr 0-9a-f 1-9a-f0)" $image
check "is refused" grep -q 'its SHA-256 is another' "$work/refused"
# shellcheck disable=SC2086
check "the right one starts a node" pod run --detach --name six --network "ns:/run/netns/$space-six" $member $authority \
    --env "ZTNODE_PLANET=$by_url#sha256=$sum" --env ZEROTIER_JOIN_NETWORKS="$(lab token create "$network" 2>/dev/null)" $image
check "which is a member" eventually 60 healthy six
# shellcheck disable=SC2086
check "so does a token that names it" pod run --detach --name seven --network "ns:/run/netns/$space-seven" $member $authority \
    $image "$(lab token create "$network" --planet-url $by_url 2>/dev/null)"
check "which is a member" eventually 60 healthy seven

echo "-- wrong values"
refused() { ! pod run --rm --no-healthcheck --network none "$@" >"$work/refused" 2>&1 && [ "$(wc -l <"$work/refused")" = 1 ]; }
check "a word that is no network" refused $image nonsense
check "an identity that is none" refused --env ZEROTIER_IDENTITY_SECRET=f00dfeed $image
check "is not repeated" not grep -q f00dfeed "$work/refused"
check "a planet that is none" refused --env ZTNODE_PLANET=/usr/bin/ztnode-cli $image
check "another identity over a home" refused --volume two:/var/lib/ztnode --env ZEROTIER_IDENTITY_SECRET="$(
    lab identity new --out-secret "$work/x.secret" --out-public "$work/x.public" >/dev/null
    cat "$work/x.secret"
)" $image

echo "-- a member is put out"
lab member deauthorize "$network" "$one" >/dev/null
check "its container turns ill" eventually 60 ill one
check "the other stays healthy" healthy two
lab member authorize "$network" "$one" >/dev/null
check "and healthy again" eventually 60 healthy one

echo "-- stop and start"
timed "ends by SIGTERM in less than 2 s" 2000 ends "$(pid one)"
check "with exit code 0" ended_well one
check "starts again" pod start one
check "as the same node" eventually 60 same_node one "$one"
check "and a member" eventually 60 healthy one
check "is stopped by podman" pod stop one
check "without being killed" ended_well one

echo "-- a controller and root without capabilities, as an ordinary user"
plug three 198.51.100.13
plug four 198.51.100.14
check "its planet is made" pod run --rm --user 9993:9993 --cap-drop ALL --read-only --network none \
    --volume three:/var/lib/ztnode --entrypoint ztnode-cli $image root init --endpoint 198.51.100.13/9993
check "starts" pod run --detach --name three --network "ns:/run/netns/$space-three" --user 9993:9993 --cap-drop ALL --read-only \
    --volume three:/var/lib/ztnode $image
check "is healthy" eventually 60 healthy three
check "runs as the ordinary user" grep -q '^Uid:.9993.9993' "/proc/$(pid three)/status"
check "without capabilities" grep -qx 'CapEff:.0000000000000000' "/proc/$(pid three)/status"
lab_network=$(tool three network create lab --public --subnet 10.99.0.0/24 -j | jq -r .id)
check "makes a network" test ${#lab_network} = 16
volume=$(pod volume inspect --format '{{.Mountpoint}}' three)
# shellcheck disable=SC2086
check "a member starts" pod run --detach --name four --network "ns:/run/netns/$space-four" $member \
    --volume "$volume/planet:/run/planet:ro" --env ZTNODE_PLANET=/run/planet $image "$lab_network"
check "and is served by it" eventually 60 healthy four
timed "the controller ends in less than 2 s" 2000 ends "$(pid three)"
check "with exit code 0" ended_well three

# An account that is there for this test alone: in copies of the machine's files, mounted over them for what runs here.
if ! command -v slirp4netns >/dev/null || ! command -v newuidmap >/dev/null; then
    echo "--   no slirp4netns or no newuidmap here: nothing is run rootless"
    exit 0
fi
echo "-- rootless"
plug five 198.51.100.15
account=$(mktemp -d /dev/shm/ztnode-rootless.XXXXXX)
mkdir "$account/home" "$account/run" "$account/etc"
chmod 755 "$account" "$account/etc"
chmod 700 "$account/run"
cp /etc/passwd /etc/group "$account/etc/"
echo "ztpod:x:59993:59993::$account/home:/bin/sh" >>"$account/etc/passwd"
echo "ztpod:x:59993:" >>"$account/etc/group"
echo "ztpod:600000:65536" | tee "$account/etc/subuid" >"$account/etc/subgid"
chmod 644 "$account"/etc/*
pod save --format docker-archive --output "$account/image.tar" $image >/dev/null 2>&1
cp "$lab_home/planet" "$work/containers.conf" "$account/"
lab token create "$network" --name five 2>/dev/null >"$account/token"
chmod 644 "$account/planet" "$account/containers.conf" "$account/token"
chown -R 59993:59993 "$account/home" "$account/run"
touch /etc/subuid /etc/subgid
# With the mode that udev gives it where udev runs.
mknod -m 666 "$work/tun" c 10 200
nsenter --net="/run/netns/$space-five" unshare --mount sh -c '
    mount --make-rprivate /
    mount --bind "$2" /dev/net/tun
    for name in passwd group subuid subgid; do mount --bind "$1/etc/$name" "/etc/$name"; done
    : >"$1/ready"
    exec sleep infinity' mounts "$account" "$work/tun" &
mounts=$!
leave_rootless() {
    rootless rm --all --force --time 0 >/dev/null 2>&1 || true
    # It keeps its mounts, and those of everybody else, for the next command.
    kill "$(cat "$account/run/libpod/tmp/pause.pid" 2>/dev/null)" 2>/dev/null || true
    kill "$mounts" 2>/dev/null || true
    wait "$mounts" 2>/dev/null || true
    rm -rf "$account" || true
    leave_podman
}
on_exit=leave_rootless
rootless() {
    nsenter --target "$mounts" --mount --net setpriv --reuid=59993 --regid=59993 --init-groups env -i \
        PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME="$account/home" XDG_RUNTIME_DIR="$account/run" \
        CONTAINERS_CONF="$account/containers.conf" sh -c 'cd /; exec podman --storage-driver vfs "$@"' podman "$@"
}
check "an account without rights" eventually 60 test -e "$account/ready"
check "has the image" rootless load --input "$account/image.tar"
check "starts a member" rootless run --no-healthcheck --detach --name five --network slirp4netns --device /dev/net/tun --cap-add NET_ADMIN \
    --volume "$account/planet:/run/planet:ro" --env ZTNODE_PLANET=/run/planet \
    --volume "$account/token:/run/secrets/token:ro" --env ZEROTIER_JOIN_NETWORKS_FILE=/run/secrets/token $image
check "which joins" eventually 60 rootless exec five ztnode-cli container health
five=$(rootless exec five ztnode-cli get "$network" ip4)
check "and is reached by the others" eventually 60 in_space two ping -c 1 -W 2 "$five"
