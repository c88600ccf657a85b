// Package account looks up users and groups, and changes the identity of the
// process or of one thread of it.
//
// Lookups read /etc/passwd and /etc/group without the C library. Where
// /etc/nsswitch.conf names further sources (LDAP, SSSD and the like), a name
// that the files do not have is asked of getent(1).
package account

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A User is an account of the system.
type User struct {
	Name   string
	UID    int
	GID    int // primary group
	Gecos  string
	Home   string
	Shell  string
	Groups []int // the primary group and those that list the user
}

// A Group is a group of the system.
type Group struct {
	Name    string
	GID     int
	Members []string
}

// NotFoundError says that there is no such user or group. Every other error
// of a lookup means that the answer is not known now.
type NotFoundError struct{ Kind, Key string }

func (e *NotFoundError) Error() string { return "unknown " + e.Kind + ": " + e.Key }

// database is a file of colon-separated lines, kept in memory while it does
// not change.
type database struct {
	path   string
	source string // its name in nsswitch.conf, and for getent

	mu      sync.Mutex
	content []byte
	info    os.FileInfo
}

var (
	passwd = &database{path: "/etc/passwd", source: "passwd"}
	group  = &database{path: "/etc/group", source: "group"}
	nss    = &database{path: "/etc/nsswitch.conf"}
)

// maxDatabase bounds how much of an account file is held in memory, in bytes.
const maxDatabase = 64 << 20

// read returns the current content.
func (d *database) read() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(d.path)
	if err != nil {
		return nil, fmt.Errorf("read account database: %w", err)
	}
	if d.info != nil && os.SameFile(info, d.info) && info.ModTime().Equal(d.info.ModTime()) && info.Size() == d.info.Size() {
		return d.content, nil
	}
	if info.Size() > maxDatabase {
		return nil, fmt.Errorf("account database %s is too large", d.path)
	}
	content, err := os.ReadFile(d.path)
	if err != nil {
		return nil, fmt.Errorf("read account database: %w", err)
	}
	d.content, d.info = content, info
	return content, nil
}

// find returns the fields of the first line whose field number n is key.
func (d *database) find(n int, key string) ([]string, error) {
	content, err := d.read()
	if err != nil {
		return nil, err
	}
	for len(content) > 0 {
		line := content
		if i := bytes.IndexByte(content, '\n'); i >= 0 {
			line, content = content[:i], content[i+1:]
		} else {
			content = nil
		}
		if fields := match(line, n, key); fields != nil {
			return fields, nil
		}
	}
	if !d.hasOtherSources() {
		return nil, nil
	}
	return d.getent(n, key)
}

// match splits a line if its field number n is key.
func match(line []byte, n int, key string) []string {
	rest := line
	for i := 0; ; i++ {
		field, after, more := bytes.Cut(rest, []byte{':'})
		if i == n {
			if string(field) != key {
				return nil
			}
			return strings.Split(string(line), ":")
		}
		if !more {
			return nil
		}
		rest = after
	}
}

// hasOtherSources says whether the name service switch names anything that
// reading the file does not cover.
func (d *database) hasOtherSources() bool {
	content, err := nss.read()
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(content)) {
		name, sources, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) != d.source {
			continue
		}
		sources, _, _ = strings.Cut(sources, "#")
		for _, source := range strings.Fields(sources) {
			switch {
			case source == "files", source == "compat", source == "systemd", strings.HasPrefix(source, "["):
			default:
				return true
			}
		}
	}
	return false
}

// getent asks the system's own lookup program.
func (d *database) getent(n int, key string) ([]string, error) {
	if key == "" || strings.HasPrefix(key, "-") || strings.ContainsAny(key, ":\n\x00") {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "getent", d.source, key).Output()
	if err != nil {
		if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 2 {
			return nil, nil
		}
		return nil, fmt.Errorf("getent %s %s: %w", d.source, key, err)
	}
	line, _, _ := bytes.Cut(out, []byte{'\n'})
	return match(line, n, key), nil
}

// Lookup finds a user by name.
func Lookup(name string) (*User, error) { return lookup(0, name) }

// LookupUID finds a user by number.
func LookupUID(uid int) (*User, error) { return lookup(2, strconv.Itoa(uid)) }

func lookup(field int, key string) (*User, error) {
	f, err := passwd.find(field, key)
	if err != nil {
		return nil, err
	}
	if len(f) < 7 {
		return nil, &NotFoundError{Kind: "user", Key: key}
	}
	uid, err := id(f[2])
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", f[0], err)
	}
	gid, err := id(f[3])
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", f[0], err)
	}
	u := &User{Name: f[0], UID: uid, GID: gid, Gecos: f[4], Home: f[5], Shell: f[6]}
	u.Groups = groupsOf(u.Name, gid)
	return u, nil
}

// LookupGroup finds a group by name.
func LookupGroup(name string) (*Group, error) { return lookupGroup(0, name) }

// LookupGID finds a group by number.
func LookupGID(gid int) (*Group, error) { return lookupGroup(2, strconv.Itoa(gid)) }

func lookupGroup(field int, key string) (*Group, error) {
	f, err := group.find(field, key)
	if err != nil {
		return nil, err
	}
	if len(f) < 4 {
		return nil, &NotFoundError{Kind: "group", Key: key}
	}
	gid, err := id(f[2])
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", f[0], err)
	}
	g := &Group{Name: f[0], GID: gid}
	if f[3] != "" {
		g.Members = strings.Split(f[3], ",")
	}
	return g, nil
}

// id reads a user or group number.
func id(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("bad numerical identity %q", text)
	}
	return int(n), nil
}

// maxGroups is the number of supplementary groups that the kernel accepts.
const maxGroups = 65536

// groupsOf returns the primary group and every group that lists the user.
func groupsOf(name string, primary int) []int {
	groups := []int{primary}
	content, err := group.read()
	if err != nil {
		return groups
	}
	if group.hasOtherSources() {
		if fields, err := initgroups(name); err == nil {
			return append(groups, fields...)
		}
	}
	for line := range bytes.Lines(content) {
		line = bytes.TrimRight(line, "\n")
		last := bytes.LastIndexByte(line, ':')
		if last < 0 || !bytes.Contains(line[last+1:], []byte(name)) {
			continue
		}
		fields := strings.Split(string(line), ":")
		if len(fields) < 4 || len(groups) >= maxGroups {
			continue
		}
		for _, member := range strings.Split(fields[3], ",") {
			if gid, err := id(fields[2]); member == name && err == nil && gid != primary {
				groups = append(groups, gid)
				break
			}
		}
	}
	return groups
}

// initgroups asks the system for the supplementary groups of a user.
func initgroups(name string) ([]int, error) {
	if strings.HasPrefix(name, "-") {
		return nil, &NotFoundError{Kind: "user", Key: name}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "getent", "initgroups", name).Output()
	if err != nil {
		return nil, fmt.Errorf("getent initgroups %s: %w", name, err)
	}
	var groups []int
	for i, field := range strings.Fields(string(out)) {
		if i == 0 || len(groups) >= maxGroups {
			continue
		}
		if gid, err := id(field); err == nil {
			groups = append(groups, gid)
		}
	}
	return groups, nil
}
