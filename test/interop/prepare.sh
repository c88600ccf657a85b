#!/bin/sh
# Installs Debian's packages that the tests in this folder run against, without
# starting any service and without a configuration in /etc/postfix being asked
# for. Where they are installed already it does nothing.
set -eu

packages="postfix postfix-pcre postfix-cdb postfix-lmdb postfix-mysql postfix-pgsql postfix-ldap postfix-sqlite
	mariadb-server postgresql slapd ldap-utils memcached sqlite3 swaks mutt db-util procps strace python3"

missing=""
for p in $packages; do
	status=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true)
	[ "$status" = "install ok installed" ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "prepare.sh: these packages have to be installed, as root:$missing" >&2
	exit 1
fi

# A policy of our own keeps installed services from starting; one that is there
# already comes back afterwards.
policy=/usr/sbin/policy-rc.d
restore() {
	rm -f "$policy"
	[ ! -e "$policy.interop" ] || mv "$policy.interop" "$policy"
}
[ ! -e "$policy" ] || mv "$policy" "$policy.interop"
trap restore EXIT
trap 'exit 1' HUP INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
# shellcheck disable=SC2086 # a list of names
apt-get install -q -y --no-install-recommends $missing
