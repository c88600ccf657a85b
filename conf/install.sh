#!/bin/sh
# Installs what "make build" made. The directories and names come from the
# environment, DESTDIR in front of all. Files of the configuration that exist
# are kept. Owners are set when this runs as root on the system itself.
set -eu

root=$DESTDIR
for dir in "$config_directory" "$command_directory" "$daemon_directory" "$meta_directory" \
	"$(dirname "$sendmail_path")" "$(dirname "$mailq_path")" "$(dirname "$newaliases_path")"; do
	mkdir -p "$root$dir"
done

# A program in use cannot be overwritten, but it can be replaced.
put() { # source destination
	cp "$1" "$2.new"
	chmod 755 "$2.new"
	mv -f "$2.new" "$2"
}
for program in "$BIN"/*; do
	[ -f "$program" ] && [ ! -L "$program" ] || continue
	case ${program##*/} in
	sendmail) put "$program" "$root$sendmail_path" ;;
	*) put "$program" "$root$command_directory/${program##*/}" ;;
	esac
done
for link in "$mailq_path" "$newaliases_path"; do
	ln -sf "$sendmail_path" "$root$link"
done
for all in suffixd heavy; do
	put "$BIN/libexec/$all" "$root$daemon_directory/$all"
	for name in $("$BIN/libexec/$all" --names); do
		ln -f "$root$daemon_directory/$all" "$root$daemon_directory/$name.new"
		mv -f "$root$daemon_directory/$name.new" "$root$daemon_directory/$name"
	done
done

pages() { # directory file...
	dir=$root$1
	shift
	mkdir -p "$dir"
	for page in "$@"; do
		cp "$page" "$dir/${page##*/}"
		chmod 644 "$dir/${page##*/}"
	done
}
for section in man1 man5 man8; do
	pages "$manpage_directory/$section" man/$section/*
done
if [ "$html_directory" != no ]; then
	pages "$html_directory" html/*
fi

for file in conf/*; do
	name=${file##*/}
	case $name in
	install.sh) continue ;;
	postfix-files)
		cp "$file" "$root$meta_directory/$name"
		continue ;;
	esac
	target=$root$config_directory/$name
	if [ ! -e "$target" ]; then
		cp "$file" "$target"
		chmod 644 "$target"
		[ "$name" = main.cf ] && new_main=yes
	fi
done
if [ "${new_main:-}" = yes ]; then
	set --
	for name in queue_directory command_directory daemon_directory data_directory meta_directory mail_owner \
		setgid_group sendmail_path mailq_path newaliases_path manpage_directory html_directory; do
		eval "value=\$$name"
		set -- "$@" "$name=$value"
	done
	"$BIN/postconf" -c "$root$config_directory" -e "$@"
fi

if [ -z "$root" ] && [ "$(id -u)" = 0 ]; then
	"$command_directory/postfix" -c "$config_directory" set-permissions
fi
