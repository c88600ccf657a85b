package main

//lint:file-ignore ST1005 The error texts are those that Postfix logs.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/mastercf"
	"suffix/pkg/nonbdb"
	"suffix/pkg/params"
	"suffix/pkg/safefile"

	_ "suffix/pkg/alltables"
)

const nonBDBUsage = "usage: postfix non-bdb status (or enable-redirect, or enable-reindex, or disable)"

// nonBDB is the command "postfix non-bdb" (spec master §10.7).
func (s *script) nonBDB(args []string) error {
	if len(args) != 1 {
		return errors.New(nonBDBUsage)
	}
	switch args[0] {
	case "status":
		fmt.Println(s.cfg.String(params.NonBdbMigrationLevel))
		return s.cfg.Err()
	case "disable":
		if err := s.postconf("-X", params.Of(params.NonBdbMigrationLevel).Name); err != nil {
			return err
		}
		return s.removeReindex()
	case "enable-redirect":
		if err := s.refuseLegacyDefaults(); err != nil {
			return err
		}
		if err := s.removeReindex(); err != nil {
			return err
		}
	case "enable-reindex":
		if err := s.refuseLegacyDefaults(); err != nil {
			return err
		}
		if err := s.reindexNow(); err != nil {
			return err
		}
		service := s.reindexService()
		if err := s.postconf("-M", "-e", service+"/unix="+service+" unix y n n - 1 nbdb_reindexd"); err != nil {
			return err
		}
	default:
		return errors.New(nonBDBUsage)
	}
	return s.postconf("-e", params.Of(params.NonBdbMigrationLevel).Name+"="+args[0])
}

func (s *script) postconf(args ...string) error {
	return s.program(s.command+"/postconf", args...)
}

func (s *script) reindexService() string { return s.cfg.String(params.NonBdbMigrationServiceName) }

// removeReindex removes the service from master.cf, where it is there.
func (s *script) removeReindex() error {
	entries, err := mastercf.Parse(s.dir+"/master.cf", mastercf.FromConfig(s.cfg, nil, nil))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name == s.reindexService() && e.Type == mastercf.Unix {
			return s.postconf("-M", "-X", e.Name+"/unix")
		}
	}
	return nil
}

// refuseLegacyDefaults makes sure that there is a type to migrate to.
func (s *script) refuseLegacyDefaults() error {
	for _, id := range []params.String{params.DefaultDatabaseType, params.DefaultCacheDbType} {
		if typ := s.cfg.String(id); nonbdb.IsLegacy(typ) {
			return fmt.Errorf("parameter %s specifies a Berkeley DB type: '%s'", params.Of(id).Name, typ)
		}
	}
	return s.cfg.Err()
}

// reindexNow makes the index files of tables that programs with few rights
// look at, which cannot ask the service.
func (s *script) reindexNow() error {
	done := make(map[string]bool)
	for _, id := range []params.String{
		params.AuthorizedFlushUsers, params.AuthorizedMailqUsers, params.AuthorizedSubmitUsers, params.LocalLoginSenderMaps,
	} {
		for _, item := range s.cfg.List(id) {
			typ, path, ok := strings.Cut(strings.TrimLeft(item, "!"), ":")
			if !ok || !nonbdb.IsLegacy(typ) || done[typ+":"+path] {
				continue
			}
			done[typ+":"+path] = true
			instead, err := nonbdb.Map(typ, path, s.cfg)
			if err != nil {
				return fmt.Errorf("Berkeley DB type mapping lookup error for '%s:%s': %s", typ, path, err)
			}
			maillog.Infof("Proactively reindexing %s:%s", instead, path)
			if err := s.program(s.command+"/postmap", instead+":"+path); err != nil {
				return err
			}
		}
	}
	return s.cfg.Err()
}

// migrateAliases makes, once, the index files of alias_maps whose type has
// changed with the defaults: local(8) must not find them missing.
func (s *script) migrateAliases() {
	level, err := nonbdb.LevelOf(s.cfg)
	if err != nil {
		maillog.Warnf("%s", err)
		return
	}
	marker := filepath.Join(s.dir, "check-alias-maps-migration-done")
	if level != nonbdb.EnableReindex || exists(marker) {
		return
	}
	for _, spec := range s.cfg.List(params.AliasMaps) {
		typ, path, _ := strings.Cut(spec, ":")
		index, ok := nonbdb.IndexFile(typ, path)
		if !ok || !filepath.IsAbs(path) || !exists(path) || !exists(path+".db") || exists(index) {
			continue
		}
		if err := s.program(s.daemon+"/nbdb_reindexd", "-S", "hash:"+path); err != nil {
			maillog.Warnf("no index file for %s:%s", typ, path)
			return // and try again the next time
		}
	}
	if err := os.WriteFile(marker, nil, 0o644); err != nil {
		maillog.Warnf("create %s: %v", marker, safefile.Cause(err))
	}
}
