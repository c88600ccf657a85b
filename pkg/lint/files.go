package lint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"suffix/pkg/account"
	"suffix/pkg/config"
)

// stat returns facts about a file. ok is false where it does not exist; a nil
// result with ok means that the caller has no right to know.
func (c *checker) stat(path string) (st fs.FileInfo, ok bool) {
	st, err := os.Stat(path)
	switch {
	case err == nil:
		return st, true
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrInvalid):
		return nil, false
	}
	c.noteUnseen(path)
	return nil, true
}

func (c *checker) noteUnseen(path string) {
	if !slices.Contains(c.unseen, path) {
		c.unseen = append(c.unseen, path)
	}
}

// tellUnseen says what could not be looked at.
func (c *checker) tellUnseen() {
	if len(c.unseen) == 0 {
		return
	}
	list := c.unseen
	const most = 5
	more := ""
	if len(list) > most {
		list, more = list[:most], " and others"
	}
	c.add(Advice, "unseen", c.dir, elsewhere, 0, "you have no right to look at %s%s: run the command as root to have these checked too.", strings.Join(list, ", "), more)
}

func uid(st fs.FileInfo) int {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Uid)
	}
	return -1
}

func gid(st fs.FileInfo) int {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Gid)
	}
	return -1
}

// mailOwner is the account that owns the queue, nil if there is none.
func (c *checker) mailOwner() *account.User {
	user, err := account.Lookup(c.main.value("mail_owner"))
	if err != nil {
		return nil
	}
	return user
}

func (c *checker) ownedByMailOwner(st fs.FileInfo) bool {
	owner := c.mailOwner()
	return owner == nil || uid(st) == owner.UID
}

// checkFiles looks at directories and at who may read and change what.
func (c *checker) checkFiles() {
	for _, name := range []string{"main.cf", "master.cf"} {
		c.checkOwnFile(name)
	}
	if st, ok := c.stat(c.dir); ok && st != nil && st.Mode()&0o002 != 0 {
		c.add(Serious, "writable", c.dir, elsewhere, 0, "every user of this machine can replace the files in this directory, and thereby become root when the mail system starts. Run: chmod o-w %s.", c.dir)
	}
	c.checkSecretSettings()
	c.checkOtherFiles()
	if !c.installed {
		return
	}
	c.checkShared()
	owner := c.mailOwner()
	queue := c.main.value("queue_directory")
	for _, d := range []struct {
		param, path string
		owned       bool // by mail_owner
	}{{"queue_directory", queue, false}, {"data_directory", c.main.value("data_directory"), true}} {
		st, ok := c.stat(d.path)
		switch {
		case !ok:
			c.main.tell(Serious, "directory", d.param, "%s is %s, which does not exist. \"postfix start\" creates what is missing; a mistyped name would start with an empty queue.", d.param, d.path)
		case st == nil:
		case !st.IsDir():
			c.main.tell(Serious, "directory", d.param, "%s is %s, which is no directory.", d.param, d.path)
		case st.Mode()&0o002 != 0:
			c.main.tell(Serious, "writable", d.param, "every user of this machine can write to %s. Run: chmod o-w %s.", d.path, d.path)
		case d.owned && owner != nil && uid(st) != owner.UID:
			c.main.tell(Serious, "owner", d.param, "%s must belong to %s, and does not: daemons cannot keep their caches there. Run: postfix set-permissions.", d.path, owner.Name)
		}
	}
	if a, b := queue, c.main.value("data_directory"); a == b && a != "" {
		c.main.tell(Serious, "directory", "data_directory", "queue_directory and data_directory are the same, %s. Give each its own.", a)
	}
	if owner == nil {
		return
	}
	for _, name := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "maildrop", "public"} {
		st, ok := c.stat(filepath.Join(queue, name))
		if ok && st != nil && uid(st) != owner.UID && uid(st) != os.Getuid() {
			c.main.tell(Serious, "owner", "queue_directory", "%s/%s must belong to %s, and does not: mail cannot pass through it. Run: postfix set-permissions.", queue, name, owner.Name)
		}
	}
}

// checkOwnFile looks at main.cf or master.cf itself.
func (c *checker) checkOwnFile(name string) {
	path := c.file(name)
	st, ok := c.stat(path)
	if !ok || st == nil {
		return
	}
	group := inMain
	if name == "master.cf" {
		group = inMaster
	}
	switch {
	case st.Mode()&0o002 != 0:
		c.add(Serious, "writable", path, group, 0, "every user of this machine can change this file, and thereby become root when the mail system starts. Run: chmod o-w %s.", path)
	case st.Mode()&0o044 != 0o044 && name == "main.cf" && c.dir == config.DefaultDir:
		c.add(Serious, "unreadable", path, group, 0, "not every user of this machine can read this file. Commands such as sendmail(1) run with the rights of their users and need it. Put secrets elsewhere, and run: chmod a+r %s.", path)
	}
}

// checkSecretSettings looks for passwords in main.cf, which everybody can read.
func (c *checker) checkSecretSettings() {
	st, ok := c.stat(c.file("main.cf"))
	if !ok || st == nil || st.Mode()&0o004 == 0 {
		return
	}
	for _, name := range sortedKeys(c.main.set) {
		if (strings.HasSuffix(name, "_password") || strings.HasSuffix(name, "_bind_pw")) && c.main.set[name] != "" {
			c.main.tell(Serious, "secret", name, "%s puts a password into a file that every user of this machine can read. Move the settings of this table into a file of their own that only root and %s can read, and name that file: type:/path.",
				name, c.main.value("mail_owner"))
		}
	}
}

// checkShared looks at the checks that every program makes at start.
func (c *checker) checkShared() {
	if slices.ContainsFunc(c.found, func(f Finding) bool { return f.Rule == "value" || f.Rule == "expansion" }) {
		return // they would be the same
	}
	list := make([]config.Setting, 0, len(c.main.set))
	for name, value := range c.main.set {
		list = append(list, config.Setting{Name: name, Value: value})
	}
	if err := config.New(c.dir, list, config.Options{}).Check(); err != nil {
		text := strings.TrimPrefix(err.Error(), "file "+c.file("main.cf")+": ")
		c.add(Serious, "start", c.file("main.cf"), inMain, 0, "no program of the mail system starts: %s.", text)
	}
	c.checkSetgid()
}

// checkSetgid looks at the commands that work with the rights of setgid_group.
func (c *checker) checkSetgid() {
	group, err := account.LookupGroup(c.main.value("setgid_group"))
	if err != nil {
		return
	}
	dir := c.main.value("command_directory")
	for _, name := range []string{"postdrop", "postqueue"} {
		path := filepath.Join(dir, name)
		st, ok := c.stat(path)
		switch {
		case !ok:
			c.main.tell(Serious, "program", "command_directory", "there is no %s: local users cannot send mail, or see the queue.", path)
		case st == nil:
		case st.Mode()&fs.ModeSetgid == 0 || gid(st) != group.GID:
			c.main.tell(Serious, "program", "setgid_group", "%s must be set-gid and belong to the group %s, and does not: local users cannot send mail, or see the queue. Run: postfix set-permissions.", path, group.Name)
		}
	}
}
