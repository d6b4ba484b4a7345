#!/bin/sh
# Makes the root directory of another Debian, with the Pythons and the Slurm of that release.
#
#   sh tests/roots/make_root.sh SUITE [DIRECTORY]       prints the directory
#
#   bookworm   Python 3.11          Slurm 22.05
#   trixie     Python 3.13          Slurm 24.11
#   forky      Python 3.14, 3.15    Slurm 26.05
#
# The packages come from the mirror that this machine's apt uses; debootstrap checks their
# signatures with the keys of this machine.  The default directory is in the user's cache;
# a root that is there already with these packages is used again.  Needs: Debian or Ubuntu, root, debootstrap.
# enter_root.sh runs a command in it.
set -eu

suite=$1
directory=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/clusterfutures-tests/$suite}
packages=ca-certificates,procps,slurm-wlm,munge,bindfs,glusterfs-client

case $suite in
    bookworm) pythons=3.11 script=bookworm ;;
    trixie) pythons=3.13 script=trixie ;;
    forky) pythons='3.14 3.15' script=sid ;; # older debootstraps have no script of this name
    *) echo "make_root.sh: '$suite' is no suite of the list: bookworm, trixie, forky" >&2 && exit 2 ;;
esac
for python in $pythons; do
    packages=$packages,python$python-venv,libpython$python-testsuite
done

cannot() {
    echo "make_root.sh: no root of Debian $suite: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || cannot "only root can make and enter one"
command -v debootstrap >/dev/null || cannot "debootstrap is not installed (apt-get install debootstrap)"
[ -f /usr/share/debootstrap/scripts/$script ] || script=sid
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f $keyring ] || cannot "$keyring is missing (apt-get install debian-archive-keyring)"

mkdir -p "$directory.parts"
exec 9>"$directory.parts/lock"
flock 9 # two programs at once: the second one finds the root
rm -rf "$directory".new.* # from a program that was killed
made=$(cat "$directory.parts/packages" 2>/dev/null) || made=
if [ ! -d "$directory" ] || [ "$made" != "$packages" ]; then
    # The mirror of Debian itself: of apt's sources the first from which main is known.
    mirror=$(apt-get indextargets --format '$(SITE) $(COMPONENT) $(CREATED_BY) $(REPO_URI)' 2>/dev/null |
        awk '$2 == "main" && $3 == "Packages" && $4 !~ /security/ { sub("/*$", "", $4); print $4; exit }')
    [ -n "$mirror" ] || cannot "apt on this machine has no source of Debian's main"
    new=$directory.new.$$
    trap 'rm -rf "$new"' EXIT
    log=$directory.parts/log
    if ! debootstrap --variant=minbase --keyring="$keyring" --include="$packages" \
        "$suite" "$new" "$mirror" $script >"$log" 2>&1 </dev/null; then
        tail -n 5 "$log" >&2
        cannot "debootstrap failed (all it said: $log)"
    fi
    rm -rf "$new"/var/cache/apt/archives/*.deb
    mkdir "$new/old-root"
    # Certificates that only this machine knows: of a proxy, say.
    certificates=/etc/ssl/certs/ca-certificates.crt
    [ ! -f $certificates ] || cp $certificates "$new$certificates"
    rm -rf "$directory" # made for an older list of packages
    mv "$new" "$directory"
    echo "$packages" >"$directory.parts/packages"
fi
echo "$directory"
