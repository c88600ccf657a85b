// Package sqlite has the table type sqlite: a key is looked up with a query to a
// database file (sqlite_table(5), spec tables §10.5).
package sqlite

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
)

func init() { table.Register("sqlite", table.Type{Open: Open}) }

// sqliteTable is one table: a query and a database.
type sqliteTable struct {
	*dbcommon.Client
	query *dbcommon.Template
	old   bool // 3.7

	mu sync.Mutex // one lookup at a time
	db *database
}

// Open opens a table by the name of its configuration, and its database. The
// database is only read; in the 3.7 dialect it is opened for writing, and made
// if it is missing, as Postfix 3.7 does.
func Open(typ, name string, o table.Options) (table.Table, error) {
	s, err := dbcommon.Parse(typ, name, o)
	if err != nil {
		return nil, err
	}
	path := s.String("dbpath", "", 1, 0)
	t := &sqliteTable{old: o.Dialect37()}
	t.Client, t.query = s.SQLClient()
	if err := s.Err(); err != nil {
		return nil, err
	}
	if !t.old {
		t.warnUnquoted()
	}
	db, text, err := openDatabase(path, t.old)
	switch {
	case err != nil && t.old:
		return nil, fmt.Errorf("%s: Can't open database: %s\n", t.Name(), text)
	case err != nil:
		return nil, fmt.Errorf("%s: open database %s: %s: %s", t.Name(), path, text, syserr.Text(err))
	}
	t.db = db
	return t, nil
}

// warnUnquoted warns of the first expansion that is not in single quotes:
// there the quoting of keys does not protect the query.
func (t *sqliteTable) warnUnquoted() {
	warned := false
	t.query.Expansions(func(letter, quote byte) {
		if quote != '\'' && !warned {
			warned = true
			maillog.Warnf("%s: query >%s< contains >%%%c< without the recommended '' quotes", t.Name(), t.query, letter)
		}
	})
}

// Close closes the database.
func (t *sqliteTable) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.db.close()
	return t.Client.Close()
}

// Lookup asks the database for a key. Only the first column counts, and only
// the first statement is run.
func (t *sqliteTable) Lookup(key string) (string, bool, error) {
	// What is no text cannot be in the database as one.
	if !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return "", false, nil
	}
	wanted, err := t.Wanted(key)
	if err != nil {
		return "", false, &table.Error{}
	}
	if !wanted {
		return "", false, nil
	}
	query, ok := t.query.Expand(key, quote)
	if !ok {
		return "", false, nil
	}
	result, ok := t.Results(key)
	if !ok {
		return "", false, nil
	}
	result.Limit = fmt.Sprintf("dict_sqlite_lookup: %s: Expansion limit exceeded for key '%s'", t.Source.Name(), key)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.run(query, result); err != nil {
		return "", false, err
	}
	value, found := result.Value()
	return value, found, nil
}

// run runs a query. What SQLite says ends with a line break in Postfix's
// messages, which the log shows as "?".
func (t *sqliteTable) run(query string, result *dbcommon.Results) error {
	s, text := t.db.prepare(query)
	if text != "" {
		return t.fatal("dict_sqlite_lookup: %s: SQL prepare failed: %s\n", t.Source.Name(), text)
	}
	failed := s.each(func(value string) error { return result.Add(value) })
	var said *stepError
	if errors.As(failed, &said) {
		maillog.Warnf("dict_sqlite_lookup: %s: SQL step failed for query '%s': %s\n", t.Source.Name(), query, said.text)
		failed = &table.Error{}
	}
	if text := s.finalize(); text != "" && said != nil && t.old {
		return t.fatal("dict_sqlite_lookup: %s: SQL finalize failed for query '%s': %s\n", t.Source.Name(), query, text)
	}
	return failed
}

// fatal is an error that ends a Postfix program: it ends a command. A daemon
// logs it, and the lookup fails.
func (t *sqliteTable) fatal(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if !t.Options().Command {
		maillog.Logf(maillog.Error, "%s", err)
	}
	return &table.Error{Whole: true, Err: err}
}

// quote appends text to a query, to stand in a string literal.
func quote(b []byte, text string) []byte {
	return append(b, strings.ReplaceAll(text, "'", "''")...)
}
