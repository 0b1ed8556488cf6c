#!/bin/sh
# Install what is needed: Debian packages, the virtual environment, the programs in its bin.
# Usage: scripts/setup.sh run|test|bench   (as root where packages are missing)
set -eu
cd "$(dirname "$0")/.."
mode=${1:-run}

# Debian's own interpreter is built with profile and link-time optimisation: a quarter faster than
# one that was compiled without them, as pyenv's are.
python=${PYTHON:-}
if [ -z "$python" ]; then
    python=python3
    new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
    if /usr/bin/python3 -c "$new_enough" 2>/dev/null; then python=/usr/bin/python3; fi
fi

packages="python3-venv nftables libnftables1 libseccomp2 iproute2 busybox-static mmdebstrap"
case $mode in
    test) packages="$packages docker-registry skopeo apache2-utils erofs-utils curl procps gcc libc6-dev iptables openssl openssh-server openssh-client runc crun git rpm db5.3-util rsyslog bash-completion zsh fish" ;;
    bench) packages="$packages docker-registry iptables" ;;
esac

missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
        missing="$missing $package"
done

# A package that brings a service must not start it: we start our own, on our own sockets.
quiet_install() {
    [ "$(id -u)" = 0 ] || { echo "setup: root is needed to install:$*" >&2; exit 1; }
    policy=/usr/sbin/policy-rc.d
    made=""
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        made=yes
    fi
    status=0
    { apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
            </dev/null >/dev/null; } || status=$?
    [ -z "$made" ] || rm -f $policy
    return $status
}

if [ -n "$missing" ]; then
    echo "setup: installing$missing"
    # shellcheck disable=SC2086  # a list of words
    quiet_install $missing
fi
if [ "$mode" != run ] && ! command -v docker >/dev/null 2>&1; then
    echo "setup: installing docker.io for the docker command line (its service stays off)"
    quiet_install docker.io
fi
if [ "$mode" != run ] && ! command -v dockerd >/dev/null 2>&1; then
    echo "setup: installing docker.io to run beside ours (its service stays off)"
    quiet_install docker.io
fi
if [ "$mode" = test ]; then
    { sh scripts/newer.sh sid docker-buildx docker-compose && sh scripts/newer.sh trixie docker-buildx; } ||
        echo "setup: no newer Debian's buildx and compose to be had; tests that drive them are skipped" >&2
fi

wanted="."
[ "$mode" = run ] || wanted=".[dev]"
stamp=.venv/.ketch-$mode
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    echo "setup: virtual environment in .venv"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check -e "$wanted"
    touch "$stamp"
fi
.venv/bin/python packaging/make_programs.py
