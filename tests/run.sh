#!/bin/sh
# Sets up what the tests need, then runs them; arguments go to pytest.
#
#   sh tests/run.sh [tests/test_x.py -k word ...]
#
# The virtual environment is .venv in the checkout, made with $PYTHON (default: python3).
# Most tests run on a real Slurm, which they start and stop themselves: as root its
# packages are installed, otherwise you are told which.
set -eu
cd "$(dirname "$0")/.."

[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install -q --disable-pip-version-check --root-user-action=ignore -e '.[test]'
# Each of thousands of workers starts twice as fast when it need not compile; where
# PYTHONDONTWRITEBYTECODE is set, none of them would leave that behind for the next.
.venv/bin/python -m compileall -q clusterfutures

packages=
command -v slurmd >/dev/null || [ -x /usr/sbin/slurmd ] || packages="$packages slurm-wlm"
command -v munged >/dev/null || [ -x /usr/sbin/munged ] || packages="$packages munge"
command -v bindfs >/dev/null || packages="$packages bindfs"
command -v glusterfsd >/dev/null || [ -x /usr/sbin/glusterfsd ] || packages="$packages glusterfs-client"
# Debian keeps the standard library's own tests, which we run as well, in a package apart.
.venv/bin/python -c 'import test.support, test.test_concurrent_futures' 2>/dev/null ||
    packages="$packages libpython$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')-testsuite"

if [ -n "$packages" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "tests/run.sh: install these first (Debian's names):$packages" >&2
        exit 1
    fi
    echo "installing$packages"
    log=$(mktemp)
    # shellcheck disable=SC2086  # several words
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y $packages; } </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        exit 1
    fi
    rm -f "$log"
fi

# Most of the time is waiting for jobs to start: three at a time, on however few cores.
exec .venv/bin/python -m pytest -n 3 "$@"
