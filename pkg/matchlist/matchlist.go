// Package matchlist matches strings, domain names, hosts and addresses against
// lists of patterns such as mydestination, relay_domains and mynetworks
// (spec config §9.2, tables §1.3).
package matchlist

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// Kind says what a list matches.
type Kind int

const (
	String  Kind = iota // whole strings
	Domain              // a domain name and what is below it
	Host                // a host's name and address
	Address             // an address
)

// Options of a list. The zero value matches by the compiled-in defaults.
type Options struct {
	Config table.Config // nil: defaults

	// ParentOf is the name that is looked for in
	// parent_domain_matches_subdomains; "" is the list's own parameter.
	ParentOf string
	// NoParent turns parent matching off, whatever that parameter says.
	NoParent bool

	// Command: the caller is a command, which asks Err after New and after a
	// failed match, and ends with that text.
	Command bool
}

// ErrLookup is what a match returns when a pattern could not be evaluated. The
// reason is logged; callers answer with a temporary failure. A command gets
// the reason as the text of the error instead, and ends with it.
var ErrLookup = errors.New("table lookup problem")

// A lookupError is an ErrLookup with the text for a command.
type lookupError string

func (e lookupError) Error() string        { return string(e) }
func (e lookupError) Is(target error) bool { return target == ErrLookup }

// A List is a parsed list of patterns. It is safe for concurrent use.
type List struct {
	param  string
	kind   Kind
	parent bool // example.com matches its subdomains
	utf8   bool
	fatal  bool // Options.Command
	items  []item
	err    error
}

// item is one pattern. Exactly one of table, missing and text is set.
type item struct {
	negate  bool
	table   *table.Handle
	missing string // reason why the /file could not be read
	file    string // of missing
	text    string // folded literal
	net     network
	netErr  error
	isNet   bool
}

// maxNesting limits files inside files.
const maxNesting = 100

// New parses the value of parameter param. Trouble with a pattern does not stop
// it: the match that reaches the pattern fails. Err tells what is wrong with the list as such.
func New(param, value string, kind Kind, o Options) *List {
	l := &List{param: param, kind: kind, fatal: o.Command, utf8: table.Options{Config: o.Config, Flags: table.UTF8Request}.UTF8()}
	if (kind == Domain || kind == Host) && !o.NoParent {
		name := o.ParentOf
		if name == "" {
			name = param
		}
		l.parent = ParentMatches(o.Config, name)
	}
	l.add(value, false, o, 0)
	return l
}

// defaultParents is the default of parent_domain_matches_subdomains.
const defaultParents = "debug_peer_list, fast_flush_domains, mynetworks, permit_mx_backup_networks, " +
	"qmqpd_authorized_clients, relay_domains, smtpd_access_maps"

// ParentMatches says whether parent_domain_matches_subdomains lists a name:
// then the pattern example.com also matches its subdomains; otherwise the
// pattern .example.com is needed for those.
func ParentMatches(cfg table.Config, name string) bool {
	value := defaultParents
	if cfg != nil {
		value = cfg.String(params.ParentDomainMatchesSubdomains)
	}
	names := &List{param: params.Of(params.ParentDomainMatchesSubdomains).Name}
	names.add(value, false, Options{Config: cfg}, 0)
	matched, err := names.Match(name)
	return matched && err == nil
}

// Err returns the first thing that is wrong with the list: a "!" without
// pattern, an unreadable file, a table that cannot be opened.
func (l *List) Err() error { return l.err }

// Empty says that the list has no patterns.
func (l *List) Empty() bool { return l == nil || len(l.items) == 0 }

// Changed names the first table in the list whose file has changed.
func (l *List) Changed() (name string, changed bool) {
	if l == nil {
		return "", false
	}
	for i := range l.items {
		if t := l.items[i].table; t != nil && t.Changed() {
			return t.RegisteredName(), true
		}
	}
	return "", false
}

// Close closes the tables in the list.
func (l *List) Close() {
	for i := range l.items {
		if t := l.items[i].table; t != nil {
			if err := t.Close(); err != nil {
				maillog.Warnf("close %s: %s", t.Name(), err)
			}
		}
	}
}

func (l *List) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// add parses list text and appends its items; negate inverts each of them.
func (l *List) add(text string, negate bool, o Options, depth int) {
	for {
		word, rest := table.NextItem(text)
		if word == "" {
			return
		}
		text = rest
		if word[0] == '#' {
			l.warnComment(word, rest, o)
			return
		}
		it := item{negate: negate}
		for word != "" && word[0] == '!' {
			it.negate = !it.negate
			word = word[1:]
		}
		switch {
		case word == "":
			err := fmt.Errorf("%s: no pattern after '!'", l.param)
			l.fail(err)
			if !o.Command {
				table.Fatal("%s", err)
			}
			return
		case word[0] == '/':
			l.addFile(word, it.negate, o, depth)
			continue
		case strings.Contains(word, ":") && word[0] != '[':
			it.table = table.Open(word, table.Options{Flags: table.Lock | table.FoldFix | table.UTF8Request, Config: o.Config, Command: o.Command})
			if err := it.table.Err(); err != nil {
				l.fail(err)
			}
		default:
			it.text = table.Fold(word, l.utf8)
			if l.kind == Host || l.kind == Address {
				it.net, it.isNet, it.netErr = parseNetwork(it.text)
			}
		}
		l.items = append(l.items, it)
	}
}

func (l *List) warnComment(word, rest string, o Options) {
	if o.Config != nil && o.Config.Dialect37() {
		maillog.Warnf("%s: comment at end of line is not supported: %s %s", l.param, word, rest)
		return
	}
	maillog.Warnf("%s: #comment after other text is not allowed: %s %s...", l.param, word, rest[:min(20, len(rest))])
}

// addFile splices in the patterns of a file.
func (l *List) addFile(path string, negate bool, o Options, depth int) {
	missing := func(reason string) {
		l.fail(errors.New(reason))
		if !o.Command {
			if o.Config != nil && o.Config.Bool(params.DaemonTableOpenErrorIsFatal) {
				table.Fatal("%s", reason)
			}
			maillog.Errorf("%s", reason)
		}
		l.items = append(l.items, item{negate: negate, missing: reason, file: path})
	}
	if depth >= maxNesting {
		missing(fmt.Sprintf("open file %s: files nested deeper than %d", path, maxNesting))
		return
	}
	text, err := readList(path, o.Config != nil && o.Config.Dialect37())
	var failed *readError
	if errors.As(err, &failed) {
		l.fail(err)
		if !o.Command {
			table.Fatal("%s", err)
		}
		return
	}
	if err != nil {
		missing(fmt.Sprintf("open file %s: %s", path, syserr.Text(err)))
		return
	}
	for _, line := range text {
		l.add(line, negate, o, depth+1)
	}
}

// readList reads the lines of a pattern file: logical lines, or in the 3.7
// dialect physical lines without those that begin with '#'.
func readList(path string, physical bool) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	if physical {
		lines, err = physicalLines(f)
	} else {
		r := table.NewLineReader(f, path)
		r.Warn = maillog.Warnf
		lines, err = allLines(r)
	}
	if err != nil {
		return nil, &readError{path, err}
	}
	return lines, nil
}

// A readError tells that an open file could not be read; it is fatal.
type readError struct {
	path string
	err  error
}

func (e *readError) Error() string {
	return "match_list_parse: read file " + e.path + ": " + syserr.Text(e.err)
}

// Match says whether the list matches a string (String), a domain name
// (Domain) or an address (Address).
func (l *List) Match(subject string) (bool, error) {
	if l.kind == Address {
		return l.match("", subject)
	}
	return l.match(subject, "")
}

// MatchHost says whether the list matches a host, by name or by address. For
// each pattern both are tried. Either may be empty.
func (l *List) MatchHost(name, addr string) (bool, error) { return l.match(name, addr) }

// MatchAddr is Match for an address that is already parsed.
func (l *List) MatchAddr(addr netip.Addr) (bool, error) { return l.match("", addr.String()) }

func (l *List) match(name, addr string) (bool, error) {
	if l.Empty() {
		return false, nil
	}
	s := subject{name: table.Fold(name, l.utf8), addr: table.Fold(addr, l.utf8)}
	if s.addr != "" {
		if !addressLike(s.addr) {
			s.addr = ""
		} else if ip, err := netip.ParseAddr(s.addr); err == nil {
			s.ip = ip.WithZone("")
		}
	}
	for i := range l.items {
		it := &l.items[i]
		matched, err := l.matchItem(it, &s)
		if err != nil {
			return false, err
		}
		if matched {
			return !it.negate, nil
		}
	}
	return false, nil
}

// subject is what is matched: folded texts, and the address parsed.
type subject struct {
	name, addr string
	ip         netip.Addr
}

func (l *List) matchItem(it *item, s *subject) (bool, error) {
	if it.missing != "" {
		maillog.Warnf("non-existent:%s is unavailable. %s", it.file, it.missing)
		return false, l.problem("non-existent:" + it.file)
	}
	if s.name != "" {
		var matched bool
		var err error
		switch l.kind {
		case Domain, Host:
			matched, err = l.matchDomain(it, s.name)
		default:
			matched, err = l.matchString(it, s.name)
		}
		if matched || err != nil {
			return matched, err
		}
	}
	if s.addr != "" {
		return l.matchAddress(it, s)
	}
	return false, nil
}

func (l *List) problem(tableName string) error {
	return l.trouble(tableName + ": table lookup problem")
}

func (l *List) trouble(text string) error {
	if l.fatal {
		return lookupError(l.param + ": " + text)
	}
	maillog.Warnf("%s: %s", l.param, text)
	return ErrLookup
}

func (l *List) inTable(t *table.Handle, key string) (bool, error) {
	_, found, err := t.Lookup(key)
	if err != nil {
		return false, l.problem(t.Name())
	}
	return found, nil
}

func (l *List) matchString(it *item, s string) (bool, error) {
	if it.table != nil {
		return l.inTable(it.table, s)
	}
	return it.text == s, nil
}

func (l *List) matchDomain(it *item, name string) (bool, error) {
	if it.table == nil {
		switch {
		case it.text == name:
			return true, nil
		case l.parent:
			return len(name) > len(it.text) && strings.HasSuffix(name, it.text) && name[len(name)-len(it.text)-1] == '.', nil
		default:
			return it.text != "" && it.text[0] == '.' && strings.HasSuffix(name, it.text), nil
		}
	}
	for key := name; key != ""; {
		if found, err := l.inTable(it.table, key); found || err != nil {
			return found, err
		}
		if !it.table.Fixed() {
			break
		}
		rest := key
		if rest[0] == '.' {
			rest = rest[1:]
		}
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			break
		}
		if key = rest[i:]; l.parent {
			key = key[1:]
		}
	}
	return false, nil
}

func (l *List) matchAddress(it *item, s *subject) (bool, error) {
	if it.table != nil {
		return l.inTable(it.table, s.addr)
	}
	if it.text == s.addr {
		return true, nil
	}
	if !it.isNet || it.net.ipv6 != strings.Contains(s.addr, ":") {
		return false, nil
	}
	if it.netErr != nil {
		return false, l.trouble(it.netErr.Error())
	}
	return s.ip.IsValid() && it.net.contains(s.ip), nil
}
