package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"suffix/pkg/maillog"
	"suffix/pkg/mastercf"
	"suffix/pkg/params"
)

// checkFatal repairs what is missing and fails where mail cannot be handled.
func (s *script) checkFatal() error {
	if err := s.install([]string{"create-missing"}); err != nil {
		if !errors.Is(err, errFailed) {
			fmt.Fprintf(os.Stderr, "%v\n", err)
		}
		return errors.New("unable to create missing queue directories")
	}
	if !isFile(s.dir + "/master.cf") {
		return fmt.Errorf("no %s/master.cf file found", s.dir)
	}
	if s.cfg.String(params.MaillogFile) != "" && !s.hasPostlog() {
		return errors.New("missing 'postlog' service in master.cf - run 'postfix upgrade-configuration'")
	}
	if s.program(s.command+"/postsuper") != nil {
		return errFailed
	}
	return nil
}

// hasPostlog says whether master.cf has the service that writes the log file.
func (s *script) hasPostlog() bool {
	entries, err := mastercf.Parse(s.dir+"/master.cf", mastercf.FromConfig(s.cfg, nil, nil))
	if err != nil {
		// Master itself reports what is wrong, with the line.
		return true
	}
	for _, e := range entries {
		if e.Name == s.cfg.String(params.PostlogServiceName) && e.Type == mastercf.Dgram {
			return true
		}
	}
	return false
}

// object is a file as check-warn sees it.
type object struct {
	path string
	mode fs.FileMode
	uid  int
	gid  int
}

// checkWarn reports owners and permissions that let others meddle
// (spec master §10.3).
func (s *script) checkWarn() {
	s.warnDeprecated()
	owner, group, err := s.identities()
	if err != nil {
		maillog.Warnf("%v", err)
		return
	}
	root := 0
	if !s.root {
		// In a private instance the user is root's deputy.
		root = os.Getuid()
	}
	notRoot := func(o object) bool { return o.uid != root }
	s.warnTrees("not owned by root: %s", notRoot, false, s.queue, s.queue+"/pid")
	s.warnTrees("group or other writable: %s", writable, false, s.queue, s.queue+"/pid")
	trees := []string{s.dir}
	if !s.secondary {
		if s.shlib != "no" {
			trees = append(trees, s.shlib)
		}
		trees = append(trees, s.daemon, s.meta)
	}
	for i, tree := range trees {
		trees[i] = tree + "/."
	}
	s.warnTrees("not owned by root: %s", notRoot, true, trees...)
	s.warnTrees("group or other writable: %s", writable, true, trees...)

	notOwner := func(o object) bool { return o.uid != owner }
	s.warnTrees("not owned by "+s.owner+": %s", notOwner, true, s.data+"/.")
	s.warnTrees("group or other writable: %s", writable, true, s.data+"/.")
	var queues []string
	for _, name := range []string{"saved", "incoming", "active", "defer", "deferred", "bounce", "hold", "trace", "corrupt", "public", "private", "flush"} {
		queues = append(queues, s.queue+"/"+name)
	}
	s.warnTrees("not owned by "+s.owner+": %s", func(o object) bool {
		return notOwner(o) && o.mode&(fs.ModeNamedPipe|fs.ModeSocket) == 0
	}, true, queues...)
	s.warnTrees("not owned by "+s.owner+": %s", notOwner, false, s.queue+"/maildrop")
	setgid := []string{s.queue + "/public", s.queue + "/maildrop"}
	commands := []string{s.command + "/postqueue", s.command + "/postdrop"}
	if !s.secondary {
		setgid = append(setgid, commands...)
	}
	if s.root {
		s.warnTrees("not owned by group "+s.group+": %s", func(o object) bool { return o.gid != group }, false, setgid...)
		if !s.secondary {
			s.warnTrees("not set-gid or not owner+group+world executable: %s", func(o object) bool {
				return o.mode&fs.ModeSetgid == 0 || o.mode.Perm()&0o111 != 0o111
			}, false, commands...)
		}
	}
	s.checkJail(notRoot)
	s.walk(s.queue+"/corrupt", func(o object) {
		if o.mode.IsRegular() {
			maillog.Warnf("damaged message: corrupt/%s", filepath.Base(o.path))
		}
	})
	if !s.secondary {
		s.checkSendmail()
	}
}

func writable(o object) bool {
	return o.mode&fs.ModeSymlink == 0 && o.mode.Perm()&0o022 != 0 && o.mode&(fs.ModeNamedPipe|fs.ModeSocket) == 0
}

// warnTrees warns about each object that is bad: those named, or all below
// them.
func (s *script) warnTrees(format string, bad func(object) bool, descend bool, paths ...string) {
	report := func(o object) {
		if bad(o) {
			maillog.Warnf(format, o.path)
		}
	}
	for _, path := range paths {
		if descend {
			s.walk(path, report)
			continue
		}
		info, err := os.Lstat(path)
		if err != nil {
			maillog.Warnf("%v", err)
			continue
		}
		report(objectOf(path, info))
	}
}

func objectOf(path string, info fs.FileInfo) object {
	o := object{path: path, mode: info.Mode()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		o.uid, o.gid = int(st.Uid), int(st.Gid)
	}
	return o
}

// walk visits a tree. A path that ends in /. keeps it, as find(1) does. What
// vanishes meanwhile is none of our business.
func (s *script) walk(path string, visit func(object)) {
	info, err := os.Lstat(path)
	if err != nil {
		return
	}
	visit(objectOf(path, info))
	if !info.IsDir() {
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		maillog.Warnf("%v", err)
		return
	}
	for _, e := range entries {
		s.walk(path+"/"+e.Name(), visit)
	}
}

// checkJail looks at the copies of system files in the chroot directory.
func (s *script) checkJail(notRoot func(object) bool) {
	for _, name := range []string{"bin", "etc", "lib", "sbin", "usr"} {
		s.walk(s.queue+"/"+name, func(o object) {
			if notRoot(o) {
				maillog.Warnf("not owned by root: %s", o.path)
			}
		})
	}
	for _, name := range []string{"bin", "etc", "lib", "sbin", "usr"} {
		s.walk(s.queue+"/"+name, func(o object) {
			original := o.path[len(s.queue):]
			if o.mode.IsRegular() && isFile(original) && !sameContent(o.path, original) {
				maillog.Warnf("%s and %s differ", o.path, original)
			}
		})
	}
}

func sameContent(a, b string) bool {
	x, err := os.ReadFile(a)
	if err != nil {
		return false
	}
	y, err := os.ReadFile(b)
	return err == nil && bytes.Equal(x, y)
}

func (s *script) checkSendmail() {
	const one, other = "/usr/lib/sendmail", "/usr/sbin/sendmail"
	if isFile(one) && isFile(other) && !sameContent(one, other) {
		maillog.Warnf("%s and %s differ", one, other)
		maillog.Warnf("Replace one by a symbolic link to the other")
	}
}
