package main

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/syserr"
)

// tableSuffixes are the settings of the client of a table type: in main.cf as
// NAME_suffix, in a file of the client as suffix.
var tableSuffixes = map[string]string{
	"ldap": "bind bind_dn bind_pw cache cache_expiry cache_size chase_referrals debuglevel dereference domain expansion_limit " +
		"leaf_result_attribute query_filter recursion_limit result_attribute result_filter result_format sasl_authz_id sasl_mechs " +
		"sasl_minssf sasl_realm scope search_base server_host server_port size_limit special_result_attribute start_tls " +
		"terminal_result_attribute timeout tls_ca_cert_dir tls_ca_cert_file tls_cert tls_cipher_suite tls_key tls_random_file " +
		"tls_require_cert version",
	"mysql": "additional_conditions charset dbname domain expansion_limit hosts idle_interval option_file option_group password query " +
		"require_result_set result_format retry_interval select_field table tls_CAfile tls_CApath tls_cert_file tls_ciphers " +
		"tls_key_file tls_verify_cert user where_field",
	"pgsql": "additional_conditions dbname domain encoding expansion_limit hosts idle_interval password query result_format " +
		"retry_interval select_field select_function table user where_field",
	"sqlite":   "additional_conditions dbpath domain expansion_limit query result_format select_field table where_field",
	"memcache": "backup data_size_limit domain flags key_digest key_format line_size_limit max_try memcache retry_pause timeout ttl",
	"mongodb":  "collection dbname domain expansion_limit projection query_filter result_attribute result_format uri",
}

// A tableScan is a search for tables in the values of main.cf, or of a service.
type tableScan struct {
	file    string
	service *service
}

// where is what stands in front of a complaint about the value.
func (t tableScan) where() string {
	if t.service == nil {
		return t.file
	}
	return t.file + ":" + t.service.key()
}

// Bounds for groups within groups, which are looked at again for each group
// around them: how deep, and how many bytes in all.
const (
	maxTableNesting = 100
	maxGroupBytes   = 16 << 20
)

// scanTables looks for type:name in a value, so that settings of table
// clients count as used. A file of a client that makes no sense is an error.
func (p *postconf) scanTables(t tableScan, text string, depth int) error {
	if !strings.ContainsAny(text, ":{#") || depth > maxTableNesting {
		return nil
	}
	items := config.SplitBrace(text)
	rest := text
	for _, item := range items {
		_, rest, _ = strings.Cut(rest, item)
		if item[0] == '#' {
			shown := rest
			if shown != "" {
				shown = shown[1:]
			}
			p.warn(t.file + ": #comment after other text is not allowed: " + item + " " + shown[:min(len(shown), 20)] + "...")
			return nil
		}
		for {
			inner, ok := cutAny(item, "proxy:", "debug:")
			if !ok {
				break
			}
			item = inner
		}
		if item == "" {
			continue
		}
		kind, name, isTable := strings.Cut(item, ":")
		var err error
		switch {
		case item[0] == '{':
			err = p.scanGroup(t, item, true, depth)
		case !isTable || name == "":
		case name[0] == '{':
			err = p.scanGroup(t, name, kind != "pcre" && kind != "regexp", depth)
		case tableSuffixes[kind] == "":
		case name[0] == '.':
		case name[0] == '/':
			err = p.checkClientFile(kind, name)
		default:
			for suffix := range strings.FieldsSeq(tableSuffixes[kind]) {
				p.markUsed(name+"_"+suffix, t.service)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cutAny(text string, prefixes ...string) (rest string, found bool) {
	for _, prefix := range prefixes {
		if rest, found = strings.CutPrefix(text, prefix); found {
			return rest, true
		}
	}
	return text, false
}

// scanGroup looks at a text in braces; inside says whether it may hold
// tables: patterns do not.
func (p *postconf) scanGroup(t tableScan, text string, inside bool, depth int) error {
	if p.groupBytes += len(text); p.groupBytes > maxGroupBytes {
		return nil
	}
	inner, problem := config.Unwrap(text)
	if problem != "" {
		p.warn(t.where() + ": " + problem)
	}
	if !inside {
		return nil
	}
	return p.scanTables(t, inner, depth+1)
}

// checkClientFile reads the file of a table client and complains about
// settings that the client does not know.
func (p *postconf) checkClientFile(kind, path string) error {
	if p.clientFiles[kind+":"+path] {
		return nil
	}
	if p.clientFiles == nil {
		p.clientFiles = make(map[string]bool)
	}
	p.clientFiles[kind+":"+path] = true
	about := "open \"" + kind + "\" configuration \"" + path + "\": "
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil
	case err != nil:
		p.warn(about + syserr.Text(err))
		return nil
	case !st.Mode().IsRegular():
		p.warn(about + "not a regular file")
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			p.warn(about + syserr.Text(err))
		}
		return nil
	}
	list, err := config.ParseSettings(path, string(text), p.warn)
	if err != nil {
		return err
	}
	if p.has(optQ) {
		return nil
	}
	known := strings.Fields(tableSuffixes[kind])
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	for _, s := range list {
		if !slices.Contains(known, s.Name) {
			p.warn(kind + ":" + path + ": unused parameter: " + s.Name + "=" + s.Value)
		}
	}
	return nil
}
