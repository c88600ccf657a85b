// Package mysql has the table type mysql: a key is looked up with a query to a
// MySQL or MariaDB server (mysql_table(5), spec tables §10.3).
//
// A connection must be ready within 10 seconds and a query answered within 60
// (dbcommon.ConnectTime, QueryTime); Postfix waits without limit.
package mysql

import (
	"context"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
)

func init() { table.Register("mysql", table.Type{Open: Open}) }

// mysqlTable is one table: a query and the servers to send it to.
type mysqlTable struct {
	*dbcommon.Client
	query      *dbcommon.Template
	mustResult bool // require_result_set
	servers    *dbcommon.Pool[*conn]
}

// Open opens a table by the name of its configuration. No server is asked yet.
func Open(typ, name string, o table.Options) (table.Table, error) {
	s, err := dbcommon.Parse(typ, name, o)
	if err != nil {
		return nil, err
	}
	d := readDialer(s)
	t := &mysqlTable{mustResult: s.Bool("require_result_set", true)}
	t.Client, t.query = s.SQLClient()
	targets := s.Hosts(nil)
	for i := range targets {
		d.checkPort(&targets[i])
	}
	t.servers = dbcommon.NewPool(s, targets, d.dial)
	if err := s.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Close closes the connections.
func (t *mysqlTable) Close() error {
	if err := t.Client.Close(); err != nil {
		return err
	}
	return t.servers.Close()
}

// Lookup asks the servers for a key.
func (t *mysqlTable) Lookup(key string) (string, bool, error) {
	wanted, err := t.Wanted(key)
	if err != nil {
		maillog.Warnf("%s 'domain' pattern match failed for '%s'", t.Name(), key)
		return "", false, &table.Error{}
	}
	if !wanted || !t.query.Suits(key) {
		return "", false, nil
	}
	result, ok := t.Results(key)
	if !ok {
		return "", false, nil
	}
	var values []string
	err = t.servers.Do(func(ctx context.Context, c *conn, _ *dbcommon.Target) (outcome dbcommon.Outcome) {
		query, err := c.expand(t.query, key)
		if err == nil {
			values, err = c.query(ctx, query, t.mustResult)
		}
		if err != nil {
			maillog.Warnf("%s: %s", t.Name(), err)
		}
		return outcomeOf(err)
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
