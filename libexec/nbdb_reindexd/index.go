package nbdbreindexd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/nonbdb"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
)

// indexer makes index files.
type indexer struct {
	cfg          *config.Main
	service      string
	level        nonbdb.Level
	rootPrefixes []string
	userPrefixes []string
	commands     string

	mu sync.Mutex // one table after the other
}

func newIndexer(cfg *config.Main, service string) (*indexer, error) {
	x := &indexer{
		cfg: cfg, service: service,
		rootPrefixes: cfg.List(params.NonBdbMigrationAllowRootPrefixes),
		userPrefixes: cfg.List(params.NonBdbMigrationAllowUserPrefixes),
		commands:     cfg.String(params.CommandDirectory),
	}
	var err error
	if x.level, err = nonbdb.LevelOf(cfg); err != nil {
		return nil, err
	}
	return x, cfg.Err()
}

// index makes the index file that takes the place of path.db. It returns what
// it has done.
func (x *indexer) index(ctx context.Context, typ, path string) (done string, err error) {
	if x.level != nonbdb.EnableReindex {
		return "", fmt.Errorf("the %s service is disabled", x.service)
	}
	if !nonbdb.IsLegacy(typ) {
		return "", fmt.Errorf("not a Berkeley DB type: '%s'", maillog.Printable(typ))
	}
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path != maillog.Printable(path) {
		return "", fmt.Errorf("not a plain absolute pathname: '%s'", maillog.Printable(path))
	}
	instead, err := nonbdb.Map(typ, path, x.cfg)
	if err != nil {
		return "", fmt.Errorf("non-Berkeley-DB type mapping lookup error for '%s:%s': %s", typ, path, err)
	}
	target, ok := nonbdb.IndexFile(instead, path)
	if !ok {
		return "", fmt.Errorf("tables of the type '%s' have no index file", instead)
	}
	if info, err := os.Lstat(target); err == nil && info.Size() > 0 {
		return fmt.Sprintf("target file '%s' already exists, skipping this request", target), nil
	}
	who, err := x.check(path)
	if err != nil {
		return "", err
	}
	program, err := who.chooseProgram(path)
	if err != nil {
		return "", err
	}
	table := instead + ":" + path
	if err := x.run(ctx, who, program, table); err != nil {
		who.remove(target)
		return "", err
	}
	if info, err := os.Lstat(target); err != nil || info.Size() == 0 {
		who.remove(target)
		return "", fmt.Errorf("'%s %s' has made no file '%s'", program, table, target)
	}
	return fmt.Sprintf("successfully executed '%s %s' as uid %d", program, table, who.uid), nil
}

// owner is the identity that may make an index file.
type owner struct {
	uid, gid int
	source   os.FileInfo // what was checked
}

// check finds out as whom the work is to be done, and makes sure that nobody
// else can put other files in the place of those that it is about. It opens
// nothing (hardening TB15).
func (x *indexer) check(path string) (*owner, error) {
	old := path + ".db"
	info, err := os.Lstat(old)
	if err != nil {
		return nil, fmt.Errorf("stat %s: %s", old, syserr.Text(err))
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("stat %s: no owner", old)
	}
	who := &owner{uid: int(st.Uid), gid: int(st.Gid)}
	if who.source, err = os.Lstat(path); err != nil {
		return nil, fmt.Errorf("stat %s: %s", path, syserr.Text(err))
	}
	prefixes, parameter := x.userPrefixes, params.NonBdbMigrationAllowUserPrefixes
	if who.uid == 0 {
		prefixes, parameter = x.rootPrefixes, params.NonBdbMigrationAllowRootPrefixes
	}
	if !under(path, prefixes) {
		return nil, fmt.Errorf("'%s' is under none of the directories that %s names", path, params.Of(parameter).Name)
	}
	for _, file := range []string{old, path} {
		if err := safe(file, who.uid); err != nil {
			return nil, err
		}
	}
	return who, nil
}

// under says whether a file is in one of some directories, or below.
func under(path string, prefixes []string) bool {
	for _, prefix := range prefixes {
		prefix = strings.TrimRight(prefix, "/")
		if prefix != "" && strings.HasPrefix(path, prefix+"/") {
			return true
		}
	}
	return false
}

// top is where the way to a file begins. Tests have another.
var top = "/"

// safe says that only root and the user can change a file, or anything about
// the way to it.
func safe(path string, uid int) error {
	for name := path; ; name = filepath.Dir(name) {
		info, err := os.Lstat(name)
		if err != nil {
			return fmt.Errorf("stat %s: %s", name, syserr.Text(err))
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch mode := info.Mode(); {
		case name == path && !mode.IsRegular():
			return fmt.Errorf("'%s' is not a regular file", name)
		case name != path && !mode.IsDir():
			return fmt.Errorf("'%s' is not a directory", name)
		case !ok || st.Uid != 0 && int(st.Uid) != uid:
			return fmt.Errorf("'%s' is not owned by root or uid %d", name, uid)
		case mode.Perm()&0o022 != 0:
			return fmt.Errorf("'%s' is writable by group or other users", name)
		}
		if name == top || name == "/" {
			return nil
		}
	}
}

// asUser runs f with the rights of the user.
func (o *owner) asUser(f func() error) error {
	if os.Geteuid() != 0 {
		return f() // there are no others to be had
	}
	return account.AsUser(o.uid, o.gid, nil, f)
}

// remove removes what may be left of an index file.
func (o *owner) remove(target string) {
	err := o.asUser(func() error { return os.Remove(target) })
	if err != nil && !os.IsNotExist(err) {
		maillog.Warnf("remove %s: %s", target, syserr.Text(err))
	}
}

// Limits of a run.
const (
	runTime   = 100 * time.Second
	maxOutput = 4096
)

// run runs postmap or postalias as the user.
func (x *indexer) run(ctx context.Context, who *owner, program, table string) error {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(x.commands, program), table)
	cmd.WaitDelay = time.Second
	cmd.Dir = "/"
	cmd.Env = []string{"MAIL_CONFIG=" + x.cfg.Dir(), "PATH=/bin:/usr/bin:/sbin:/usr/sbin"}
	output := &limited{left: maxOutput}
	cmd.Stdout, cmd.Stderr = output, output
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid), Groups: []uint32{uint32(who.gid)}},
		}
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.New("time limit exceeded")
	}
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(output.String())
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if text != "" {
		text = ": " + maillog.Printable(text)
	}
	return fmt.Errorf("'%s %s' as uid %d: %s%s", program, table, who.uid, syserr.Text(err), text)
}

// limited keeps the start of what is written.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(l.left, len(p))
	l.left -= n
	l.Buffer.Write(p[:n])
	return len(p), nil
}
