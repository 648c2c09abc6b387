# shellcheck shell=bash
# What deploy-staging.sh and rollback-staging.sh share. Packages that were deployed are kept in $RELEASES, which only
# root may write: what is installed as root must not come from a folder of the service's user.

UNIT=tta-staging-carbon.service
PACKAGE=carbon-agent
RELEASES=${TTA_RELEASES:-/var/lib/tta-staging/releases}
ENVIRONMENT=/etc/tta/staging/environment
# Versions kept, the running one included.
KEEP=${TTA_KEEP:-3}
# Seconds in which a version must be healthy: the first interval has to end.
PATIENCE=${TTA_PATIENCE:-90}

say() { printf '==> %s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "${code:-1}"
}
unusable() { code=2 die "$*"; }

# The comment at the head of the script that runs is its help; its one indented line is the usage.
explain() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; }
usage() { unusable "usage: $(explain | sed -n 's/^  *//p')"; }

# Reads `--name VALUE` into the variables that the first argument names.
arguments() {
    local names=" $1 "
    shift
    while [ $# -gt 0 ]; do
        case "$1" in -h | --help)
            explain
            exit 0
            ;;
        esac
        [[ $# -ge 2 && $1 == --* && $names == *" ${1#--} "* ]] || usage
        printf -v "${1#--}" '%s' "$2"
        shift 2
    done
    [ -n "${component:-}" ] || usage
}

# Everything before the first change: root, the tools, a running systemd, and nobody else at it.
prepare() {
    [ "$(id -u)" -eq 0 ] || unusable "must be run as root"
    [ "$1" = carbon ] || unusable "--component $1: this host deploys carbon"
    [ -d /run/systemd/system ] || unusable "systemd is not running here"
    install -d -m 0755 "$RELEASES"
    exec 9>"$RELEASES/.lock"
    flock --nonblock 9 || die "another deployment is running"
}

architecture() { dpkg --print-architecture; }
installed() {
    # shellcheck disable=SC2016 # dpkg's own variables
    { dpkg-query --show --showformat '${db:Status-Abbrev} ${Version}\n' "$PACKAGE" 2>/dev/null || true; } |
        sed -n 's/^ii *//p'
}
package_of() { printf '%s/%s_%s_%s.deb\n' "$1" "$PACKAGE" "$2" "$(architecture)"; }

# Versions in a folder, the newest first.
versions_in() {
    local file version
    for file in "$1/$PACKAGE"_*_"$(architecture)".deb; do
        [ -e "$file" ] || continue
        version=${file##*/"$PACKAGE"_}
        printf '%s\n' "${version%_*}"
    done | sort --version-sort --reverse
}

# The agent's own word, asked as the service is configured. It counts only once an interval has ended.
health() {
    (
        set -a
        # shellcheck source=/dev/null
        if [ -r "$ENVIRONMENT" ]; then . "$ENVIRONMENT"; fi
        exec "$PACKAGE" health
    )
}

healthy_within() {
    local end=$((SECONDS + $1)) text=""
    while :; do
        if systemctl --quiet is-active "$UNIT" && text=$(health 2>&1) && grep -q 'last interval ended' <<<"$text"; then
            printf '%s\n' "$text"
            return 0
        fi
        [ "$SECONDS" -lt "$end" ] || break
        sleep 1
    done
    printf '%s\n' "${text:-$UNIT is $(systemctl is-active "$UNIT")}"
    return 1
}

# Installs a kept version and waits until it is healthy.
switch_to() {
    say "installing $PACKAGE $1"
    # A version that crashed may have used up its starts, or be waiting for the next.
    if ! systemctl --quiet is-active "$UNIT"; then systemctl stop "$UNIT" 2>/dev/null || true; fi
    systemctl reset-failed "$UNIT" 2>/dev/null || true
    # Configuration is the operator's: never replaced, never asked about.
    if ! DEBIAN_FRONTEND=noninteractive dpkg --force-confold --force-confdef --install "$(package_of "$RELEASES" "$1")" 9>&-; then
        return 1
    fi
    # The package restarts what ran; what was stopped starts here.
    if systemctl --quiet is-failed "$UNIT"; then return 1; fi
    systemctl start "$UNIT" 9>&- || return 1
    say "health after (up to $PATIENCE s)"
    healthy_within "$PATIENCE"
}

# What ran before the present version; empty where nothing did.
previous() { tail -n 1 "$RELEASES/previous" 2>/dev/null || true; }

# switch_to, and back to where we came from when it does not work. The last argument is that version, or empty.
switch_or_return() {
    local wanted=$1 before=$2
    if switch_to "$wanted"; then
        if [ -n "$before" ] && [ "$before" != "$wanted" ]; then
            printf '%s\n' "$before" >"$RELEASES/previous"
        fi
        prune "$wanted" "$(previous)"
        say "$PACKAGE $wanted is running and healthy"
        return 0
    fi
    journalctl --no-pager --lines=20 --unit="$UNIT" || true
    if [ -z "$before" ] || [ ! -e "$(package_of "$RELEASES" "$before")" ]; then
        systemctl stop "$UNIT" || true
        die "$PACKAGE $wanted is not healthy, and no earlier version is kept: stopped"
    fi
    say "$PACKAGE $wanted is not healthy: back to $before"
    switch_to "$before" || die "$before is not healthy either: see journalctl --unit=$UNIT"
    die "$PACKAGE $wanted was not healthy; $before is running again"
}

# Keeps the newest $KEEP packages, and in any case those named.
prune() {
    local version kept=0
    while read -r version; do
        kept=$((kept + 1))
        if [ "$kept" -gt "$KEEP" ] && [ "$version" != "$1" ] && [ "$version" != "$2" ]; then
            rm -f "$(package_of "$RELEASES" "$version")"
        fi
    done < <(versions_in "$RELEASES")
}
