// Package nonbdb is the migration away from Berkeley DB tables (spec tables
// §16): where main.cf says so, a table of the type hash or btree is opened as one
// of another type, and index files that are missing are made.
//
// A program that opens tables imports it for that effect. This system reads and
// writes Berkeley DB files itself, so that nobody needs the migration; with
// non_bdb_migration_level = disable, the default, nothing changes.
package nonbdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

func init() { table.Redirect = redirect }

// A Level says how much of the migration happens.
type Level int

const (
	Disable        Level = iota
	EnableRedirect       // other types in place of hash and btree
	EnableReindex        // and their index files are made when they are missing
)

// LevelOf returns the level that main.cf has.
func LevelOf(cfg table.Config) (Level, error) {
	switch text := cfg.String(params.NonBdbMigrationLevel); text {
	case "disable":
		return Disable, nil
	case "enable-redirect":
		return EnableRedirect, nil
	case "enable-reindex":
		return EnableReindex, nil
	default:
		return Disable, fmt.Errorf("invalid non-Berkeley-DB migration level: '%s'", text)
	}
}

// IsLegacy says whether a table type is one of Berkeley DB.
func IsLegacy(typ string) bool { return typ == "hash" || typ == "btree" }

// Map returns the type that takes the place of a Berkeley DB type for the table
// name. The error says what is wrong with main.cf.
func Map(typ, name string, cfg table.Config) (string, error) {
	instead, found, err := custom(typ, name, cfg)
	if err != nil {
		return "", err
	}
	if !found {
		id := params.DefaultDatabaseType
		if typ == "btree" {
			id = params.DefaultCacheDbType
		}
		instead = cfg.String(id)
	}
	if instead == "" || strings.IndexFunc(instead, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
	}) >= 0 {
		return "", fmt.Errorf("bad non-legacy database type syntax: '%s'", instead)
	}
	if IsLegacy(instead) {
		return "", fmt.Errorf("mapping from '%s' to legacy type '%s'", typ, instead)
	}
	if _, known := table.LookupType(instead); !known {
		return "", fmt.Errorf("mapping to unsupported database type: '%s'", instead)
	}
	return instead, nil
}

// custom asks non_bdb_custom_mapping.
func custom(typ, name string, cfg table.Config) (instead string, found bool, err error) {
	spec := cfg.String(params.NonBdbCustomMapping)
	if spec == "" {
		return "", false, nil
	}
	if t, _, _ := strings.Cut(spec, ":"); IsLegacy(t) {
		return "", false, fmt.Errorf("non_bdb_custom_mapping must not use legacy type: '%s'", t)
	}
	h := table.Open(spec, table.Options{Flags: table.Lock | table.UTF8Request, Config: cfg})
	defer h.Close()
	for _, key := range []string{typ + ":" + name, typ} {
		if instead, found, err = h.Lookup(key); err != nil || found {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("%s lookup error for '%s:%s'", spec, typ, name)
	}
	return instead, found, err
}

// suffixes of the files behind the types that can take the place.
var suffixes = map[string]string{"cdb": ".cdb", "lmdb": ".lmdb", "pebble": ".sst"}

// IndexFile returns the file behind a table that takes the place of another;
// ok is false for a type without one.
func IndexFile(typ, name string) (path string, ok bool) {
	suffix, ok := suffixes[typ]
	return name + suffix, ok
}

func redirect(typ, name string, o table.Options) (string, error) {
	if !IsLegacy(typ) || o.Config == nil {
		return typ, nil
	}
	level, err := LevelOf(o.Config)
	if err != nil {
		return "", err
	}
	if level == Disable {
		return typ, nil
	}
	instead, err := Map(typ, name, o.Config)
	if err != nil {
		maillog.Warnf("non-Berkeley-DB type mapping lookup error for '%s:%s': %s", typ, name, err)
		return "", fmt.Errorf("Berkeley DB type mapping lookup error for '%s:%s': %s", typ, name, err)
	}
	if o.Config.Bool(params.NonBdbMigrationLogRedirect) {
		maillog.Infof("redirecting %s:%s to %s:%s", typ, name, instead, name)
	}
	if level == EnableReindex && o.Mode == table.ReadOnly {
		if err := reindex(typ, name, instead, o); err != nil {
			maillog.Warnf("Non-Berkeley-DB migration error: %s", err)
			return "", fmt.Errorf("Non-Berkeley-DB migration error: %s", err)
		}
	}
	return instead, nil
}

// Protocol is what the service announces.
const Protocol = "nbdb_reindex"

// Values of status in its replies.
const (
	StatusOK    = 0
	StatusError = 1
)

// How the service is asked. The time bounds one attempt. Tests shorten the pause.
const (
	attempts = 2
	patience = 30 * time.Second
)

var pause = time.Second

// reindex asks the service to make the index file, where it is missing.
func reindex(typ, name, instead string, o table.Options) error {
	path, ok := IndexFile(instead, name)
	if !ok {
		return nil
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		return nil // whatever there is to say, opening the file will say it
	}
	if !filepath.IsAbs(name) {
		dir, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("current directory: %s", syserr.Text(err))
		}
		name = filepath.Join(dir, name)
	}
	service := o.Config.String(params.NonBdbMigrationServiceName)
	class := ipc.Private
	if o.Command {
		class = filepath.Join(o.Config.String(params.QueueDirectory), class)
	}
	var err error
	for n := range attempts {
		if n > 0 {
			time.Sleep(pause)
		}
		var status int
		var reason string
		if status, reason, err = ask(class, service, typ, name); err != nil {
			err = fmt.Errorf("connection to %s/%s service: %s", ipc.Private, service, syserr.Text(err))
			continue
		}
		if status != StatusOK {
			return errors.New(reason)
		}
		return nil
	}
	return err
}

func ask(class, service, typ, name string) (status int, reason string, err error) {
	c, err := ipc.Dial(class, service, patience)
	if err != nil {
		var failed *ipc.ConnectError
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return 0, "", err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return exchange(c, typ, name)
}

func exchange(c *attr.Conn, typ, name string) (status int, reason string, err error) {
	if err := c.R.Protocol(Protocol); err != nil {
		return 0, "", err
	}
	if err := c.R.End(); err != nil {
		return 0, "", err
	}
	if err := c.W.Str("nbdb_type", typ).Str("nbdb_path", name).End(); err != nil {
		return 0, "", err
	}
	status, _ = c.R.Int("status")
	reason, err = c.R.Str("reason")
	if err == nil {
		err = c.R.End()
	}
	return status, reason, err
}
