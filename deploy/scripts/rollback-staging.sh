#!/usr/bin/env bash
# Puts the version that ran before back on this staging host, as root:
#
#   rollback-staging.sh --component carbon [--version V]
#
# Without --version the one that the last deployment replaced. Health is checked before and after; when the old version
# is not healthy either, the present one is put back and the exit status is 1.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=deploy/scripts/staging-lib.sh
. "$here/staging-lib.sh"

component="" version=""
arguments "component version" "$@"
prepare "$component"

before=$(installed)
version=${version:-$(previous)}
[ -n "$version" ] || die "no earlier version is known; kept: $(versions_in "$RELEASES" | paste -sd ' ')"
[ -f "$(package_of "$RELEASES" "$version")" ] ||
    unusable "version $version is not kept; kept: $(versions_in "$RELEASES" | paste -sd ' ')"
say "health before (${before:-not installed})"
if [ -n "$before" ]; then health || true; fi
if [ "$before" = "$version" ] && healthy_within "$PATIENCE" >/dev/null; then
    say "$PACKAGE $version is running and healthy: nothing to do"
    exit 0
fi
switch_or_return "$version" "$before"
