#!/usr/bin/env bash
# Deploys a version of a component to this staging host, as root:
#
#   deploy-staging.sh --component carbon [--version V] [--from DIR]
#
# Takes carbon-agent_V_ARCH.deb from DIR (default: this folder's parent, the working directory, then the kept releases);
# without --version the newest there. Says how healthy the host is before, installs, and waits until the new version is
# healthy; when it is not, the version before is put back and the exit status is 1. Run again, it changes nothing.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=deploy/scripts/staging-lib.sh
. "$here/staging-lib.sh"

component="" version="" from=""
arguments "component version from" "$@"
prepare "$component"

# Where the package is.
if [ -z "$from" ]; then
    for from in "$here/.." "$PWD" "$RELEASES"; do
        if [ -n "$(versions_in "$from")" ]; then break; fi
    done
fi
[ -d "$from" ] || unusable "--from $from: no such folder"
version=${version:-$(versions_in "$from" | head -n 1)}
[ -n "$version" ] || unusable "no $PACKAGE package in $from"
package=$(package_of "$from" "$version")
[ -f "$package" ] || unusable "no package $package; there: $(versions_in "$from" | paste -sd ' ')"
if [ -f "$from/SHA256SUMS" ]; then
    (cd "$from" && grep -F "  ${package##*/}" SHA256SUMS | sha256sum --check --quiet --strict -) ||
        die "$package does not match $from/SHA256SUMS"
fi

before=$(installed)
say "health before (${before:-not installed})"
if [ -n "$before" ]; then health || true; fi
if [ "$before" = "$version" ] && cmp --silent "$package" "$(package_of "$RELEASES" "$version")" &&
    healthy_within "$PATIENCE" >/dev/null; then
    say "$PACKAGE $version is deployed and healthy: nothing to do"
    exit 0
fi

[ "$package" -ef "$(package_of "$RELEASES" "$version")" ] || install -m 0644 "$package" "$RELEASES/"
switch_or_return "$version" "$before"
