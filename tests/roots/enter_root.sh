#!/bin/sh
# Runs a command in a root that make_root.sh made.
#
#   sh tests/roots/enter_root.sh ROOT [--bind DIRECTORY]... COMMAND...
#
# The working directory and each DIRECTORY are at the same paths in there; everything else
# of the machine is out of sight, but for its network, processes and devices.  By pivot_root
# in a mount namespace: in a chroot / is no mount point, and bindfs and unshare need one.
set -eu

if [ "${1:-}" != --inside ]; then
    exec unshare --mount --propagation private sh "$0" --inside "$@"
fi
root=$(realpath "$2")
shift 2

mount --bind "$root" "$root" # pivot_root wants a mount point
for part in /proc /sys /dev; do
    mount --rbind $part "$root$part"
done
for file in /etc/hosts /etc/resolv.conf; do
    [ -e "$root$file" ] || : >"$root$file"
    mount --bind "$(realpath $file)" "$root$file"
done
here=$(pwd -P)
set -- --bind "$here" "$@"
while [ "${1:-}" = --bind ]; do
    bound=$(realpath "$2")
    mkdir -p "$root$bound"
    mount --bind "$bound" "$root$bound"
    shift 2
done

cd "$root"
pivot_root . old-root
cd "$here" # before the old root goes: a command must not see it as its directory
umount -l /old-root
# Nothing of the Python and the directories out there holds in here.
unset PIP_FIND_LINKS VIRTUAL_ENV PYTHONHOME PYTHONPATH TMPDIR XDG_CACHE_HOME XDG_STATE_HOME XDG_RUNTIME_DIR
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
exec "$@"
