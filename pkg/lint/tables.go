package lint

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/macro"
	"suffix/pkg/params"
	"suffix/pkg/table/typenames"
)

// A tableRef is a table that a setting names.
type tableRef struct {
	s          *scope
	param      string
	kind, name string
	proxied    bool
}

func (r *tableRef) String() string { return r.kind + ":" + r.name }

// isTable tells whether an item of a list is meant to be a table.
func isTable(item string) bool {
	return strings.Contains(item, ":") && item[0] != '['
}

// otherTables are parameters that name tables and are not in proxy_read_maps.
var otherTables = []string{"alias_database", "smtp_tls_session_cache_database", "lmtp_tls_session_cache_database", "smtpd_tls_session_cache_database",
	"virtual_maps", "smtp_tls_per_site", "lmtp_tls_per_site"}

// tableParams are the parameters whose values name tables, in no order.
func tableParams() []string {
	names := slices.Clone(otherTables)
	for _, list := range []string{"proxy_read_maps", "proxy_write_maps"} {
		_ = macro.Names(params.Lookup(list).Default, func(name string, _ bool) { names = append(names, name) }) // a default has no mistake
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// onlyTables tells the parameters in which no item is anything else.
func onlyTables(name string) bool {
	switch name {
	case "alias_database", "header_checks", "body_checks", "rbl_reply_maps":
		return true
	case "virtual_alias_domains", "smtpd_sasl_mechanism_filter":
		return false
	}
	return strings.HasSuffix(name, "_maps") || strings.HasSuffix(name, "_checks") || strings.HasSuffix(name, "_cache_database") ||
		strings.HasSuffix(name, "_delivery_status_filter") || strings.HasSuffix(name, "_reply_filter") || strings.HasSuffix(name, "_command_filter")
}

// isCache tells the parameters whose table a daemon makes and fills by itself.
func isCache(name string) bool {
	return strings.HasSuffix(name, "_cache_database") || name == "address_verify_map" || name == "postscreen_cache_map" ||
		strings.HasSuffix(name, "_sasl_auth_cache_name")
}

// checkTables looks at all tables that settings name.
func (c *checker) checkTables() {
	names := tableParams()
	for _, s := range c.scopes() {
		for _, name := range names {
			switch {
			case s.own(name) && (strings.HasSuffix(name, "_restrictions") || name == "local_header_rewrite_clients"):
				s.restrictionTables(name)
			case s.own(name), s.entry == nil && name == "alias_maps":
				s.findTables(name, s.value(name), onlyTables(name), false, 0)
			}
		}
		for _, class := range s.classes() {
			if s.own(class) {
				s.restrictionTables(class)
			}
		}
	}
	// Each table is spoken of once; alias_database only names what others use.
	slices.SortStableFunc(c.refs, func(a, b tableRef) int { return rank(a.param) - rank(b.param) })
	for i := range c.refs {
		c.refs[i].check()
	}
}

func rank(param string) int {
	switch param {
	case "alias_maps":
		return 0
	case "alias_database":
		return 2
	}
	return 1
}

// first tells whether this is the first look at a file.
func (c *checker) first(path string) bool {
	key := "file " + path
	seen := c.told[key]
	c.told[key] = true
	return !seen
}

func (s *scope) restrictionTables(name string) {
	for _, r := range s.restrictions(s.value(name)) {
		if slices.Contains(wordsOf(restrictionsWithTable), r.name) || r.name == "" {
			s.findTables(name, r.arg, true, false, 0)
		}
	}
}

// findTables finds the tables in a value.
func (s *scope) findTables(param, text string, only, proxied bool, depth int) {
	if depth > maxNesting {
		return
	}
	for _, item := range config.SplitBrace(text) {
		if item[0] == '#' {
			s.tell(Serious, "comment", param, "%s has a comment, \"%s\", after other text, which belongs to the value. A comment needs a line of its own.", param, short(item))
			return
		}
		item = strings.TrimLeft(item, "!")
		if strings.HasPrefix(item, "{") { // { type:name, search_order = ... }
			inner, _ := config.Unwrap(item)
			if words := config.SplitBrace(inner); len(words) > 0 {
				s.findTables(param, words[0], only, proxied, depth+1)
			}
			continue
		}
		if !only && strings.HasPrefix(item, "/") {
			s.checkListFile(param, item)
			continue
		}
		if item == "" || !isTable(item) {
			if only && item != "" {
				s.tell(Serious, "table", param, "%s names \"%s\", which is not of the form type:name, such as hash:/etc/postfix/table. Lookups there fail, and mail is deferred.", param, short(item))
			}
			continue
		}
		kind, name, _ := strings.Cut(item, ":")
		switch {
		case kind == "proxy" || kind == "debug":
			s.findTables(param, name, true, proxied || kind == "proxy", depth+1)
		case kind == "pipemap" || kind == "unionmap":
			inner, problem := config.Unwrap(name)
			if problem != "" {
				s.tell(Serious, "table", param, "%s names %s, where something is wrong with the braces: %s.", param, short(item), problem)
			}
			s.findTables(param, inner, true, proxied, depth+1)
		default:
			s.c.refs = append(s.c.refs, tableRef{s, param, kind, name, proxied})
		}
	}
}

// indexSuffix is what the name of an indexed file ends with; ok is false for
// types that are not made from a source file.
func indexSuffix(kind string) (suffix string, ok bool) {
	switch kind {
	case "hash", "btree":
		return ".db", true
	case "cdb":
		return ".cdb", true
	case "lmdb":
		return ".lmdb", true
	case "pebble":
		return ".sst", true
	}
	return "", false
}

func (r *tableRef) check() {
	s := r.s
	if r.name == "" {
		s.tell(Serious, "table", r.param, "%s names %s: without a name. Lookups there fail, and mail is deferred.", r.param, r.kind)
		return
	}
	switch r.kind {
	case "nis":
		s.tell(Advice, "table-type", r.param, "%s names %s. There is no NIS here: nothing is ever found in it, and on a machine that is in a NIS domain lookups fail. Remove it.", r.param, short(r.String()))
		return
	case "dbm", "sdbm", "nisplus", "netinfo":
		s.tell(Serious, "table-type", r.param, "%s names %s. Tables of type %s are not supported: lookups there fail, and mail is deferred. Make the table another type, such as hash or lmdb.",
			r.param, short(r.String()), r.kind)
		return
	}
	if !slices.Contains(typenames.All(), r.kind) {
		what := meant(r.kind, typenames.All())
		if strings.Trim(r.kind, "0123456789abcdefABCDEF") == "" && r.kind != "" {
			what = "An IPv6 address must stand in brackets: [2001:db8::]/32."
		}
		s.tell(Serious, "table-type", r.param, "%s names %s, but there is no type of tables called \"%s\". Lookups there fail, and mail is deferred. %s", r.param, short(r.String()), r.kind, what)
		return
	}
	if (strings.HasSuffix(r.param, "_checks")) && slices.Contains([]string{"hash", "btree", "cdb", "lmdb", "pebble", "texthash"}, r.kind) {
		s.tell(Advice, "table", r.param, "%s names %s. Its keys are whole lines of mail, which a table of type %s will hardly ever hold: patterns of type regexp or pcre are meant.", r.param, r, r.kind)
	}
	r.checkServer()
	suffix, indexed := indexSuffix(r.kind)
	isClient := slices.Contains(clientTypes, r.kind)
	switch {
	case isClient && r.name[0] != '/' && r.name[0] != '.':
		return // settings in main.cf
	case !indexed && !isClient && !slices.Contains([]string{"texthash", "regexp", "pcre", "cidr"}, r.kind), r.name[0] == '{':
		return // no file
	}
	path := r.name
	if path[0] != '/' {
		s.tell(Advice, "table-path", r.param, "%s names %s by a relative path. Daemons look for it in the queue directory, commands in whatever directory they are started in. Write the whole path.", r.param, r)
		path = s.value("queue_directory") + "/" + path
	}
	switch {
	case isCache(r.param):
		r.checkCacheDirectory(path)
	case !r.s.c.first(r.kind + ":" + path):
	case indexed:
		r.checkIndex(path, path+suffix)
	default:
		r.checkSource(path)
	}
}

// checkServer looks at the name of a table that a server keeps.
func (r *tableRef) checkServer() {
	parts := strings.Split(r.name, ":")
	good := true
	switch r.kind {
	case "tcp":
		good = len(parts) >= 2 && parts[0] != "" && parts[len(parts)-1] != ""
	case "socketmap":
		good = len(parts) >= 4 && parts[0] == "inet" || len(parts) >= 3 && parts[0] == "unix"
	default:
		return
	}
	if !good {
		form := "tcp:host:port"
		if r.kind == "socketmap" {
			form = "socketmap:inet:host:port:name or socketmap:unix:path:name"
		}
		r.s.tell(Serious, "table", r.param, "%s names %s, which is not of the form %s. Lookups there fail, and mail is deferred.", r.param, short(r.String()), form)
	}
}

func (r *tableRef) checkCacheDirectory(path string) {
	dir := filepath.Dir(path)
	st, ok := r.s.c.stat(dir)
	switch {
	case !ok:
		if r.s.c.installed {
			r.s.tell(Serious, "cache", r.param, "%s keeps its cache in the directory %s, which does not exist. Create it, owned by %s.", r.param, dir, r.s.value("mail_owner"))
		}
	case st == nil:
	case r.s.c.installed && !r.s.c.ownedByMailOwner(st):
		r.s.tell(Advice, "cache", r.param, "%s keeps its cache in %s, which does not belong to %s. The daemon puts the file into data_directory instead, and warns each time. Name it %s/%s here.",
			r.param, dir, r.s.value("mail_owner"), "$data_directory", filepath.Base(path))
	}
}

// maker is the command that makes the index of a table.
func (r *tableRef) maker() string {
	if r.param == "alias_maps" || r.param == "alias_database" {
		return "postalias"
	}
	return "postmap"
}

// staleAfter is how much newer a source may be: an index may be in the making.
const staleAfter = 2 * time.Second

func (r *tableRef) checkIndex(source, index string) {
	s, c := r.s, r.s.c
	st, ok := c.stat(index)
	src, srcOK := c.stat(source)
	if !ok {
		sev := Serious
		if !s.explicit(r.param) {
			sev = Advice
		}
		effect := "Lookups in it fail, and mail that needs them is deferred."
		if r.param == "alias_database" {
			sev, effect = Advice, "newaliases(1) makes it."
		}
		what := "Make it: " + r.maker() + " " + r.String()
		if !srcOK {
			what = "Its source " + source + " does not exist either: write one, or remove the table from " + r.param
		}
		if s.explicit(r.param) {
			s.tell(sev, "table-missing", r.param, "%s names %s, but there is no file %s. %s %s.", r.param, r, index, effect, what)
		} else {
			s.tell(sev, "table-missing", r.param, "%s is %s by default, but there is no file %s. %s %s.", r.param, r, index, effect, what)
		}
		return
	}
	if st == nil {
		return
	}
	if st.Size() == 0 || st.IsDir() {
		s.tell(Serious, "table-broken", r.param, "%s names %s, but %s is no such table: it is empty, or a directory. Make it again: %s %s.", r.param, r, index, r.maker(), r)
		return
	}
	if magicWrong(r.kind, index) {
		s.tell(Serious, "table-broken", r.param, "%s names %s, but %s is not a file of type %s: it is damaged, or of another type. Make it again: %s %s.", r.param, r, index, r.kind, r.maker(), r)
	}
	if srcOK && src != nil && src.ModTime().Sub(st.ModTime()) > staleAfter {
		s.tell(Advice, "table-stale", r.param, "%s was changed after %s was made from it: the changes have no effect yet. Run: %s %s.", source, index, r.maker(), r)
	}
	r.checkOwner(index, st)
	for path, info := range map[string]fs.FileInfo{index: st, source: src} {
		r.checkWritable(path, info)
		r.checkSecret(path, info)
	}
	r.checkProxied(index, st)
}

// magicWrong tells whether a file begins with what no file of its type begins with.
func magicWrong(kind, path string) bool {
	var at int64
	var magic []string
	switch kind {
	case "hash":
		at, magic = 12, []string{"\x61\x15\x06\x00", "\x00\x06\x15\x61"}
	case "btree":
		at, magic = 12, []string{"\x62\x31\x05\x00", "\x00\x05\x31\x62"}
	case "lmdb":
		at, magic = 16, []string{"\xde\xc0\xef\xbe"}
	default:
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	have := make([]byte, 4)
	if _, err := f.ReadAt(have, at); err != nil {
		return true
	}
	return !slices.Contains(magic, string(have))
}

func (r *tableRef) checkSource(path string) {
	st, ok := r.s.c.stat(path)
	if !ok {
		r.s.tell(Serious, "table-missing", r.param, "%s names %s, but there is no file %s. Lookups in it fail, and mail that needs them is deferred.", r.param, r, path)
		return
	}
	if st == nil {
		return
	}
	if !st.Mode().IsRegular() {
		r.s.tell(Serious, "table-broken", r.param, "%s names %s, but %s is no regular file.", r.param, r, path)
		return
	}
	r.checkWritable(path, st)
	r.checkSecret(path, st)
	r.checkProxied(path, st)
	r.checkQuery(path)
	if r.kind == "cidr" {
		r.checkAddresses(path)
	}
}

// checkOwner looks for an index of root's in somebody else's directory.
func (r *tableRef) checkOwner(index string, st fs.FileInfo) {
	dir, ok := r.s.c.stat(filepath.Dir(index))
	if !ok || dir == nil || uid(st) != 0 || uid(dir) == 0 {
		return
	}
	r.s.tell(Advice, "table-owner", r.param, "%s belongs to root, but its directory does not. The owner of the directory could bring root to overwrite other files when the table is made again. Give source, table and directory the same owner.", index)
}

// checkWritable looks for files that everybody can change.
func (r *tableRef) checkWritable(path string, st fs.FileInfo) {
	if st == nil {
		return
	}
	if st.Mode()&0o002 != 0 {
		r.s.tell(Serious, "writable", r.param, "every user of this machine can change %s, and with it the way of mail. Run: chmod o-w %s.", path, path)
	}
	if dir, ok := r.s.c.stat(filepath.Dir(path)); ok && dir != nil && dir.Mode()&0o002 != 0 && dir.Mode()&fs.ModeSticky == 0 {
		r.s.tell(Serious, "writable", r.param, "every user of this machine can replace files in %s, where %s is. Run: chmod o-w %s.", filepath.Dir(path), r, filepath.Dir(path))
	}
}

// checkSecret looks for passwords that everybody can read.
func (r *tableRef) checkSecret(path string, st fs.FileInfo) {
	if st == nil || st.Mode()&0o004 == 0 {
		return
	}
	secret := strings.HasSuffix(r.param, "_sasl_password_maps")
	if slices.Contains(clientTypes, r.kind) {
		secret = r.s.c.hasPassword(path)
	}
	if secret {
		r.s.tell(Serious, "secret", r.param, "%s holds passwords, and every user of this machine can read it. Run: chmod o-r %s.", path, path)
	}
}

// hasPassword tells whether the settings of a table client have one.
func (c *checker) hasPassword(path string) bool {
	text, ok := c.readFile(path)
	if !ok {
		return false
	}
	list, err := config.ParseSettings(path, string(text), nil)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(s config.Setting) bool {
		switch s.Name {
		case "password", "bind_pw":
			return s.Value != ""
		case "uri", "hosts":
			_, rest, found := strings.Cut(s.Value, "://")
			user, _, isUser := strings.Cut(rest, "@")
			return found && isUser && strings.Contains(user, ":")
		}
		return false
	})
}

// checkProxied looks for files that proxymap, which runs as mail_owner, cannot
// read. Those of databases it opens before it becomes that.
func (r *tableRef) checkProxied(path string, st fs.FileInfo) {
	if !r.proxied || !r.s.c.installed || slices.Contains(typenames.Heavy, r.kind) {
		return
	}
	owner := r.s.c.mailOwner()
	if owner == nil || uid(st) == owner.UID || st.Mode()&0o004 != 0 {
		return
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if ok && st.Mode()&0o040 != 0 && (int(sys.Gid) == owner.GID || slices.Contains(owner.Groups, int(sys.Gid))) {
		return
	}
	r.s.tell(Serious, "proxy", r.param, "%s names proxy:%s, but proxymap(8) works with the rights of %s, who cannot read %s. Run: chgrp %s %s; chmod g+r %s.",
		r.param, r, owner.Name, path, owner.Name, path, path)
}

// An entry is a line of the source of a table.
type entry struct{ key, value string }

// entries reads the source of a table, as far as it is a plain file. ok is
// false for tables that cannot be read so.
func (r *tableRef) entries() (list []entry, ok bool) {
	_, indexed := indexSuffix(r.kind)
	if !indexed && r.kind != "texthash" || r.name == "" || r.name[0] != '/' {
		return nil, false
	}
	text, ok := r.s.c.readFile(r.name)
	if !ok {
		return nil, false
	}
	lines := config.NewLines(r.name, string(text), nil)
	for {
		line, _, more := lines.Next()
		if !more {
			return list, true
		}
		i := strings.IndexAny(line, " \t\r\v\f")
		if i < 0 {
			continue
		}
		list = append(list, entry{strings.ToLower(line[:i]), strings.TrimSpace(line[i:])})
	}
}

// maxRead bounds the files whose content is looked at.
const maxRead = 16 << 20

// readFile returns the content of a file that is there and not too large.
func (c *checker) readFile(path string) (text []byte, ok bool) {
	st, ok := c.stat(path)
	if !ok || st == nil || !st.Mode().IsRegular() || st.Size() > maxRead {
		return nil, false
	}
	text, err := os.ReadFile(path)
	if err != nil {
		c.noteUnseen(path)
		return nil, false
	}
	return bytes.TrimRight(text, "\x00"), true
}
