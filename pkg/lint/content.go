package lint

import (
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/table/netblock"
)

// This file looks into the files that settings name.

// checkListFile looks at a /file in a list, whose lines are items of the list.
func (s *scope) checkListFile(param, path string) {
	st, ok := s.c.stat(path)
	switch {
	case !ok:
		s.tell(Serious, "list-file", param, "%s names the file %s, which does not exist. Whenever this item is reached the list fails, and clients get a temporary error.", param, path)
	case st == nil:
	case !st.Mode().IsRegular():
		s.tell(Serious, "list-file", param, "%s names %s, which is no regular file. Whenever this item is reached the list fails, and clients get a temporary error.", param, path)
	}
}

// maxLines bounds how many wrong lines of one file are spoken of.
const maxLines = 5

// checkAddresses looks at the rules of a cidr table.
func (r *tableRef) checkAddresses(path string) {
	text, ok := r.s.c.readFile(path)
	if !ok {
		return
	}
	wrong := 0
	lines := config.NewLines(path, string(text), nil)
	for wrong < maxLines {
		line, number, more := lines.Next()
		if !more {
			return
		}
		words := strings.Fields(line)
		switch strings.ToLower(words[0]) {
		case "endif":
			continue
		case "if":
			words = words[1:]
		}
		if len(words) == 0 {
			continue
		}
		pattern := strings.TrimLeft(words[0], "!")
		if pattern == "" {
			if len(words) < 2 {
				continue
			}
			pattern = words[1]
		}
		if _, err := netblock.Parse(pattern); err != nil {
			wrong++
			r.s.tell(Advice, "table-line", r.param, "line %d of %s, which %s names, does not count: %s.", number, path, r.param, err)
		}
	}
}

// checkQuery looks for queries that a key can change: with an expansion that is
// not in quotes.
func (r *tableRef) checkQuery(path string) {
	param, quote := "query", byte('\'')
	switch r.kind {
	case "mongodb":
		param, quote = "query_filter", '"'
	case "mysql", "pgsql", "sqlite":
	default:
		return
	}
	text, ok := r.s.c.readFile(path)
	if !ok {
		return
	}
	list, err := config.ParseSettings(path, string(text), nil)
	if err != nil {
		r.s.tell(Serious, "table-client", r.param, "%s names %s, whose settings cannot be read: %s. Lookups fail, and mail that needs them is deferred.", r.param, r, err)
		return
	}
	for _, s := range list {
		if s.Name != param {
			continue
		}
		if at := unquoted(s.Value, quote); at != "" {
			r.s.tell(Serious, "query", r.param, "in the %s in %s, line %d, %s stands outside of quotes. What is asked for comes from strangers, who can then make the database do what they want. Write %c%s%c.",
				param, path, s.Line, at, quote, at, quote)
		}
	}
}

// unquoted returns the first expansion of a query that is not in quotes.
func unquoted(query string, quote byte) string {
	quoted := false
	for i := 0; i < len(query); i++ {
		switch {
		case query[i] == quote:
			quoted = !quoted
		case query[i] == '%' && i+1 < len(query):
			i++
			if !quoted && strings.IndexByte("suSUdD123456789", query[i]) >= 0 {
				return query[i-1 : i+1]
			}
		}
	}
	return ""
}

// checkOtherFiles looks at files and directories that single parameters name.
func (c *checker) checkOtherFiles() {
	s := c.main
	if path := s.value("bounce_template_file"); path != "" {
		if _, ok := c.stat(path); !ok {
			s.tell(Advice, "file", "bounce_template_file", "bounce_template_file is %s, which does not exist: messages about undeliverable mail have the built-in text.", path)
		}
	}
	for _, dir := range config.SplitList(s.value("multi_instance_directories")) {
		if _, ok := c.stat(dir + "/main.cf"); !ok {
			s.tell(Serious, "file", "multi_instance_directories", "multi_instance_directories names %s, where there is no main.cf: this instance cannot be started.", dir)
		}
	}
	if file := s.value("maillog_file"); file != "" {
		found := false
		for _, prefix := range config.SplitList(s.value("maillog_file_prefixes")) {
			found = found || strings.HasPrefix(file, prefix)
		}
		if !found {
			s.tell(Serious, "file", "maillog_file", "maillog_file is %s, which begins with none of maillog_file_prefixes (%s): no program starts. Use another file, or add its directory there.", file, s.value("maillog_file_prefixes"))
		}
	}
}

// checkServerSettings looks at single settings of the SMTP servers.
func (s *scope) checkServerSettings() {
	if banner := s.value("smtpd_banner"); s.own("smtpd_banner") {
		if first, _, _ := strings.Cut(banner, " "); !strings.EqualFold(first, s.value("myhostname")) {
			s.tell(Advice, "banner", "smtpd_banner", "smtpd_banner does not begin with this system's name, $myhostname, as the protocol demands: \"%s\".", short(banner))
		}
	}
	if s.entry == nil && s.own("smtpd_reject_unlisted_recipient") && !s.yes("smtpd_reject_unlisted_recipient") {
		s.tell(Advice, "backscatter", "smtpd_reject_unlisted_recipient", "smtpd_reject_unlisted_recipient is no for all services: mail to names that do not exist is accepted, and returned to senders who are most often forged. Set it by -o for services that only your own users reach.")
	}
	for _, name := range []string{"smtpd_milters", "non_smtpd_milters"} {
		if !s.own(name) {
			continue
		}
		for _, item := range s.list(name) {
			server := item
			if strings.HasPrefix(item, "{") {
				inner, problem := config.Unwrap(item)
				words := config.SplitBrace(inner)
				if problem == "" && len(words) > 0 {
					if _, err := config.ItemOptions(words[1:]); err != nil {
						problem = err.Error()
					}
				}
				if problem != "" || len(words) == 0 {
					s.tell(Serious, "milter", name, "%s has \"%s\", which cannot be read: %s.", name, short(item), problem)
					continue
				}
				server = words[0]
			}
			kind, rest, _ := strings.Cut(server, ":")
			if good := (kind == "unix" || kind == "local") && rest != "" || kind == "inet" && strings.Contains(rest, ":"); !good {
				s.tell(Serious, "milter", name, "%s has \"%s\", which is no server: write inet:host:port or unix:path. What milter_default_action says happens to all mail.", name, short(server))
			}
		}
	}
}
