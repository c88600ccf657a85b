// Package pgsql has the table type pgsql: a key is looked up with a query to a
// PostgreSQL server (pgsql_table(5), spec tables §10.4).
//
// A connection must be ready within 10 seconds and a query answered within 60
// (dbcommon.ConnectTime, QueryTime); Postfix waits without limit.
package pgsql

import (
	"context"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
)

func init() { table.Register("pgsql", table.Type{Open: Open}) }

// pgsqlTable is one table: a query and the servers to send it to.
type pgsqlTable struct {
	*dbcommon.Client
	query   *dbcommon.Template
	servers *dbcommon.Pool[*conn]
}

// Open opens a table by the name of its configuration. No server is asked yet.
func Open(typ, name string, o table.Options) (table.Table, error) {
	s, err := dbcommon.Parse(typ, name, o)
	if err != nil {
		return nil, err
	}
	d := &dialer{user: s.String("user", "", 0, 0), password: s.String("password", "", 0, 0), encoding: "LATIN1"}
	if !o.Dialect37() {
		d.encoding = s.String("encoding", "UTF8", 1, 0)
	}
	targets := s.Hosts(isURI(o.Dialect37()))
	least := 0
	for _, t := range targets {
		if t.Kind != dbcommon.URI || o.Dialect37() {
			least = 1
		}
	}
	if d.dbname = s.String("dbname", "", 0, 0); d.dbname == "" && least > 0 {
		if o.Dialect37() {
			d.dbname = s.String("dbname", "", 1, 0)
		} else {
			s.Fail("%s host target '%s' requires dbname setting", s.Table(), firstPlain(targets))
		}
	}
	t := &pgsqlTable{}
	t.Client, t.query = client(s)
	for i := range targets {
		socketDirectory(&targets[i])
	}
	t.servers = dbcommon.NewPool(s, targets, d.dial)
	if err := s.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// client reads the query: parameter select_function is another way to write it.
func client(s *dbcommon.Source) (*dbcommon.Client, *dbcommon.Template) {
	query := s.String("query", "", 0, 0)
	function := s.String("select_function", "", 0, 0)
	if query == "" && function != "" {
		return s.SQLClientWith("SELECT " + function + "('%s')")
	}
	return s.SQLClient()
}

// isURI tells the host items that are connection strings of PostgreSQL.
func isURI(old bool) func(string) bool {
	return func(item string) bool {
		if old {
			return strings.HasPrefix(item, "postgresql:")
		}
		return strings.HasPrefix(item, "postgresql:") || strings.Contains(item, "://")
	}
}

func firstPlain(targets []dbcommon.Target) string {
	for _, t := range targets {
		if t.Kind != dbcommon.URI {
			return t.Text
		}
	}
	return ""
}

// Close closes the connections.
func (t *pgsqlTable) Close() error {
	if err := t.Client.Close(); err != nil {
		return err
	}
	return t.servers.Close()
}

// Lookup asks the servers for a key.
func (t *pgsqlTable) Lookup(key string) (string, bool, error) {
	wanted, err := t.Wanted(key)
	if err != nil {
		return "", false, &table.Error{}
	}
	// The server has no text with a NUL.
	if !wanted || !t.query.Suits(key) || strings.IndexByte(key, 0) >= 0 {
		return "", false, nil
	}
	result, ok := t.Results(key)
	if !ok {
		return "", false, nil
	}
	var values []string
	err = t.servers.Do(func(ctx context.Context, c *conn, target *dbcommon.Target) dbcommon.Outcome {
		if err := c.canQuote(key); err != nil {
			// The key cannot be in a database whose texts are valid.
			maillog.Warnf("dict pgsql: (host %s) cannot escape input string: %s", target.Text, err)
			return dbcommon.Done
		}
		query, _ := t.query.Expand(key, c.quote)
		var err error
		if values, err = c.query(ctx, query); err != nil {
			return c.failed(ctx, target, query, err)
		}
		return dbcommon.Done
	})
	if err != nil {
		return "", false, err
	}
	for _, value := range values {
		if err := result.Add(value); err != nil {
			return "", false, err
		}
	}
	value, found := result.Value()
	return value, found, nil
}
