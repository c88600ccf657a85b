// Package nbdbreindexd is the nbdb_reindexd(8) daemon: it makes the index file
// of a table that is to be used in the place of a Berkeley DB table, for programs
// that find it missing (spec tables §16). It is not in the master.cf that we
// ship; "postfix non-bdb enable-reindex" adds it.
//
// It runs postmap(1) or postalias(1) as the owner of the Berkeley DB file, and
// only where nobody else could have a hand in the result. Started by hand as
// "nbdb_reindexd -S hash:PATH …" it does the same for these tables.
//
// It talks to nobody else. It reads non_bdb_migration_level,
// non_bdb_custom_mapping, non_bdb_migration_allow_root_prefixes,
// non_bdb_migration_allow_user_prefixes, default_database_type,
// default_cache_db_type and command_directory.
package nbdbreindexd

import (
	"context"
	"errors"
	"os"
	"strings"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	"suffix/pkg/nonbdb"
	"suffix/pkg/service"

	_ "suffix/pkg/alltables"
)

// Main runs the daemon.
func Main() {
	var x *indexer
	service.Run(service.Daemon{
		Program:    "nbdb_reindexd",
		Kind:       service.Single,
		Limit:      service.LimitOne,
		Privileged: true,
		Arguments:  true,
		Setup: func(p *service.Process) (err error) {
			if x, err = newIndexer(p.Config, p.Service); err != nil {
				return err
			}
			if p.Standalone && len(p.Args) > 0 {
				os.Exit(x.byHand(p.Args))
			}
			return nil
		},
		Serve: func(ctx context.Context, _ *service.Process, c *service.Conn) { x.serve(ctx, c.Conn) },
	})
}

// byHand handles the tables on the command line, and returns the exit status.
func (x *indexer) byHand(tables []string) (status int) {
	for _, spec := range tables {
		typ, path, _ := strings.Cut(spec, ":")
		if code, _ := x.handle(context.Background(), typ, path); code != nonbdb.StatusOK {
			status = 1
		}
	}
	return status
}

// serve answers one client. A request that is none gets no answer.
func (x *indexer) serve(ctx context.Context, c *attr.Conn) {
	if c.W.Str("protocol", nonbdb.Protocol).End() != nil {
		return
	}
	typ, _ := c.R.Str("nbdb_type")
	path, err := c.R.Str("nbdb_path")
	if err == nil {
		err = c.R.End()
	}
	if err != nil {
		if !errors.Is(err, attr.ErrEOF) {
			maillog.Warnf("%v", err)
		}
		return
	}
	status, reason := x.handle(ctx, typ, path)
	if err := c.W.Int("status", status).Str("reason", reason).End(); err != nil {
		maillog.Warnf("%v", err)
	}
}

// handle does what one request asks for, and logs what becomes of it.
func (x *indexer) handle(ctx context.Context, typ, path string) (status int, reason string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	done, err := x.index(ctx, typ, path)
	if err != nil {
		maillog.Warnf("request to index %s:%s failed: %s", maillog.Printable(typ), maillog.Printable(path), err)
		return nonbdb.StatusError, err.Error()
	}
	maillog.Infof("%s", done)
	return nonbdb.StatusOK, done
}
