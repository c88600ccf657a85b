// Package memcache has the table type memcache: a cache shared through a
// memcached server, with a table behind it that keeps what the cache forgets
// (memcache_table(5), spec tables §10.7).
package memcache

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
	"suffix/pkg/table/endpoint"
)

func init() { table.Register("memcache", table.Type{Open: open}) }

// second is the unit of retry_pause. Tests shorten it.
var second = time.Second

type memcache struct {
	*dbcommon.Client
	pool    *endpoint.Pool
	backup  *table.Handle // nil: none
	format  *dbcommon.Template
	digest  digest // nil: none
	flags   int
	ttl     int
	tries   int
	pause   time.Duration
	timeout time.Duration
	maxLine int
	maxData int
	old     bool // Postfix 3.7
}

func open(typ, name string, o table.Options) (table.Table, error) {
	switch {
	case o.Mode == table.Bulk:
		return nil, fmt.Errorf("%s:%s map requires O_RDONLY or O_RDWR access mode", typ, name)
	case o.Flags&table.NoUnauth != 0:
		return nil, fmt.Errorf("%s:%s map is not allowed for security-sensitive data", typ, name)
	}
	s, err := dbcommon.ParseAny(typ, name, o)
	if err != nil {
		return nil, err
	}
	t := &memcache{old: o.Dialect37()}
	t.format = s.Query(s.String("key_format", "%s", 0, 0))
	t.timeout = time.Duration(s.Int("timeout", 2, 0, 0)) * time.Second
	t.ttl = s.Int("ttl", 3600, 0, 0)
	t.flags = s.Int("flags", 0, 0, 0)
	t.pause = time.Duration(s.Int("retry_pause", 1, 1, 0)) * second
	t.tries = s.Int("max_try", 2, 1, 0)
	t.maxLine = s.Int("line_size_limit", 1024, 1, 0)
	t.maxData = s.Int("data_size_limit", 10240, 1, 0)
	if algorithm := s.String("key_digest", "", 0, 0); algorithm != "" {
		if t.digest = digests[strings.ToLower(algorithm)]; t.digest == nil {
			s.Fail("%s: unknown digest algorithm: key_digest = %s", name, algorithm)
		}
	}
	e, err := endpoint.Parse(s.String("memcache", "inet:localhost:11211", 0, 0), o.Config)
	if err != nil {
		s.Fail("%s", err)
	}
	if s.Err() == nil {
		if spec := s.String("backup", "", 0, 0); spec != "" {
			t.backup = table.Open(spec, o.Inner())
			if err := t.backup.Err(); err != nil && o.Command {
				s.Fail("%s", err)
			}
		}
	}
	t.Client = s.NewClient(nil, 0)
	if err := s.Err(); err != nil {
		t.closeBackup()
		t.Client.Close()
		return nil, err
	}
	if t.timeout <= 0 {
		t.timeout = noTimeout
	}
	t.pool = &endpoint.Pool{Endpoint: e, Timeout: t.timeout}
	t.pool.Open()
	return t, nil
}

// noTimeout is how long "timeout = 0" waits, which for Postfix is for ever.
const noTimeout = time.Hour

// Owner: anybody can write to the server.
func (t *memcache) Owner() (uid int, known bool) { return 0, false }

// Flags say that the server and the table behind it take care of concurrent
// changes.
func (t *memcache) Flags() table.Flags { return table.FixedKeys | table.MultiWriter }

// Close closes the connections and the backup.
func (t *memcache) Close() error {
	err := t.closeBackup()
	t.Client.Close()
	t.pool.Close()
	return err
}

func (t *memcache) closeBackup() error {
	if t.backup == nil {
		return nil
	}
	return t.backup.Close()
}

// Lookup asks the server, then the backup. What only the backup has is stored
// at the server.
func (t *memcache) Lookup(name string) (value string, found bool, err error) {
	key, why, err := t.key(name)
	if err != nil {
		return "", false, err
	}
	if why != "" {
		maillog.Debugf("%s: skipping lookup for name \"%s\": %s", t.Source.Name(), name, why)
		return "", false, nil
	}
	value, found, err = t.get(key)
	if found || t.backup == nil {
		return value, found, err
	}
	value, found, err = t.backup.Lookup(name)
	if found && err == nil {
		// The value is known, whether or not the cache takes it.
		_ = t.set(key, value)
	}
	return value, found, err
}

// Update stores at the server, then in the backup, whose word counts.
func (t *memcache) Update(name, value string) error {
	key, why, err := t.key(name)
	if err != nil {
		return err
	}
	if why != "" {
		maillog.Warnf("%s: skipping update for name \"%s\": %s", t.Source.Name(), name, why)
		return nil
	}
	err = t.set(key, value)
	if t.backup != nil {
		return t.backup.Update(name, value)
	}
	return err
}

// Delete deletes at the server, then in the backup, whose word counts.
func (t *memcache) Delete(name string) (found bool, err error) {
	key, why, err := t.key(name)
	if err != nil {
		return false, err
	}
	if why != "" {
		maillog.Debugf("%s: skipping delete for name \"%s\": %s", t.Source.Name(), name, why)
		return false, nil
	}
	found, err = t.remove(key)
	if t.backup != nil {
		return t.backup.Delete(name)
	}
	return found, err
}

// Cursor lists the backup: a server has no list of its keys.
func (t *memcache) Cursor() (table.Cursor, error) {
	if t.backup == nil {
		maillog.Warnf("database %s: first/next support requires backup database", t.Name())
		return nothing{}, nil
	}
	return t.backup.Cursor()
}

type nothing struct{}

func (nothing) Next() (key, value string, ok bool, err error) { return "", "", false, nil }

// key makes the key at the server. why tells that there is none, and that the
// request is to be skipped.
func (t *memcache) key(name string) (key, why string, err error) {
	wanted, err := t.Wanted(name)
	switch {
	case err != nil:
		return "", "", &table.Error{}
	case !wanted:
		return "", "domain mismatch", nil
	case name == "":
		return "", "empty lookup key", nil
	}
	key, ok := t.format.Expand(name, dbcommon.Plain)
	if !ok || key == "" {
		return "", "empty lookup key expansion", nil
	}
	if t.digest != nil {
		return hex.EncodeToString(t.digest(key)), "", nil
	}
	for i := 0; i < len(key); i++ {
		// In the protocol a blank or line break ends the key.
		if key[i] <= ' ' || key[i] == 0x7f {
			if t.old {
				return "", "name contains space", nil
			}
			return "", "name contains space or controls", nil
		}
	}
	return key, "", nil
}
