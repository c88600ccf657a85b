package localdelivery

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"suffix/pkg/account"
	"suffix/pkg/dsn"
	"suffix/pkg/macro"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/syserr"
)

// names are the $names of forward_path, luser_relay and the like.
func (d *delivery) names(s state) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "user":
			return s.name, true
		case "home", "shell":
			if s.user == nil {
				return "", false
			}
			if name == "home" {
				return s.user.Home, true
			}
			return s.user.Shell, true
		case "domain":
			return s.domain, s.domain != ""
		case "local", "mailbox":
			return s.local, true
		case "recipient":
			return s.rcpt.Address, true
		case "extension":
			return s.extension, s.hasExtension
		case "recipient_delimiter":
			if s.delimiter != "" {
				return s.delimiter, true
			}
			if d.extension.Delimiters != "" {
				return d.extension.Delimiters[:1], true
			}
		}
		return "", false
	}
}

// dotForward expands the user's .forward file. found is false when there is
// none to use: the mail then goes to the mailbox (spec delivery §8.3).
func (d *delivery) dotForward(s state, user *account.User) (result outcome.Result, found bool) {
	if d.forwardPath == "" {
		return outcome.Done, false
	}
	s.user = user
	path, info, usedExtension := d.findForward(s, user)
	if path == "" {
		return outcome.Done, false
	}
	if d.req.Flags&outcome.FlagProbe != 0 {
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "forward via file: " + path}), true
	}
	if completed, entered := d.files[path]; entered {
		return outcome.Done, completed
	}
	f := d.openForward(path, info, user)
	if f == nil {
		return outcome.Done, false
	}
	defer f.Close()
	if d.files == nil {
		d.files = make(map[string]bool)
	}
	d.files[path] = false
	nested := s
	nested.depth += 3
	nested.owner, nested.origin, nested.expandedFrom = s.name, fromForward, s.local
	nested.rcpt.Notify = withoutSuccess(s.rcpt.Notify)
	nested.unmatched = ""
	if !usedExtension && d.propagate["forward"] {
		nested.unmatched = s.extension
	}
	if !d.frozenDelivered {
		nested.delivered = s.rcpt.Address
	}
	result, count := d.lines(nested, f)
	d.files[path] = true
	if count == 0 && result == outcome.Done {
		return outcome.Done, false
	}
	if s.rcpt.Notify&dsn.NotifySuccess != 0 && result == outcome.Done {
		result = d.req.Expanded(s.rcpt, d.at(), "expanded")
	}
	return result, true
}

// findForward returns the first element of forward_path that exists.
func (d *delivery) findForward(s state, user *account.User) (path string, info fs.FileInfo, usedExtension bool) {
	for element := range strings.FieldsFuncSeq(d.forwardPath, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		undefined, extension := false, false
		lookup := d.names(s)
		candidate, err := macro.Expand(element, func(name string) (string, bool) {
			value, ok := lookup(name)
			undefined = undefined || !ok
			extension = extension || name == "extension"
			return value, ok
		}, macro.Options{Once: true, Allowed: d.forwardFilter})
		if err != nil || undefined || candidate == "" {
			continue
		}
		err = account.AsUser(user.UID, user.GID, []int{user.GID}, func() error {
			info, err = os.Lstat(candidate)
			return err
		})
		if err == nil {
			return candidate, info, extension
		}
	}
	return "", nil, false
}

// openForward opens a .forward file as the user, if it can be trusted.
func (d *delivery) openForward(path string, info fs.FileInfo, user *account.User) *os.File {
	if why := untrusted(info, user.UID); why != "" {
		maillog.Warnf("file %s %s", path, why)
		return nil
	}
	f, err := openAs(path, user.UID, user.GID)
	if err == nil {
		err = sameFile(f, info)
		if opened, statErr := f.Stat(); err == nil && (statErr != nil || untrusted(opened, user.UID) != "") {
			err = errChanged
		}
		if err == nil {
			return f
		}
		f.Close()
	}
	maillog.Warnf("cannot open file %s: %s", path, syserr.Text(err))
	return nil
}

// untrusted says why a user's .forward file must not be used; empty: it may.
func untrusted(info fs.FileInfo, uid int) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return "is not a regular file"
	case ok && st.Uid != 0 && int(st.Uid) != uid:
		return fmt.Sprintf("has bad owner uid %d", st.Uid)
	case info.Mode()&0o002 != 0:
		return "is world writable"
	}
	return ""
}

var errChanged = errors.New("file status changed unexpectedly")

// sameFile makes sure that an open file is the one that was looked at before.
func sameFile(f *os.File, before fs.FileInfo) error {
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	if !opened.Mode().IsRegular() || !os.SameFile(opened, before) {
		return errChanged
	}
	return nil
}

// openAs opens a file for reading with the rights of a user.
func openAs(path string, uid, gid int) (f *os.File, err error) {
	err = account.AsUser(uid, gid, []int{gid}, func() error {
		f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		return err
	})
	return f, err
}

// lines delivers to the members that a file lists, line by line, a long line in
// pieces. The first line that must be tried again ends the file.
func (d *delivery) lines(s state, f *os.File) (result outcome.Result, count int) {
	in := bufio.NewReaderSize(f, d.lineLimit)
	comment, start := false, true
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return d.later(s, "4.3.0", "error reading forwarding file: "+syserr.Text(err)), count
		}
		if start {
			comment = len(line) > 0 && line[0] == '#'
		}
		start = err == nil
		if !comment {
			result, n := d.list(s, strings.TrimRight(string(line), "\r\n"))
			count += n
			if result == outcome.Retry {
				return result, count
			}
		}
		if err == io.EOF {
			return outcome.Done, count
		}
	}
}

// include delivers to the members of an include file (spec delivery §8.4).
func (d *delivery) include(s state, path string) outcome.Result {
	const misconfigured = "mail system configuration error"
	s.depth++
	if s.depth > maxDepth {
		maillog.Warnf(":include: nesting limit exceeded for %s", path)
		return d.bounce(s, "5.4.6", ":include: nesting limit exceeded")
	}
	uid, gid := 0, 0
	if s.user != nil {
		uid, gid = s.user.UID, s.user.GID
	}
	if d.seen.duplicate(fmt.Sprintf("include %d", uid), path) {
		return outcome.Done
	}
	if !strings.HasPrefix(path, "/") {
		maillog.Warnf(":include:%s uses a relative path", path)
		return d.bounce(s, "5.3.5", misconfigured)
	}
	var info fs.FileInfo
	err := d.asContext(s, uid, gid, func() (err error) {
		info, err = os.Stat(path)
		return err
	})
	switch {
	case err != nil:
		maillog.Warnf("unable to lookup :include: file %s: %s", path, syserr.Text(err))
		return d.bounce(s, "5.3.5", misconfigured)
	case !info.Mode().IsRegular():
		maillog.Warnf(":include: file %s is not a regular file", path)
		return d.bounce(s, "5.3.5", misconfigured)
	case info.Mode()&0o002 != 0:
		maillog.Warnf(":include: file %s is world writable", path)
		return d.bounce(s, "5.3.5", misconfigured)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && s.user == nil && st.Uid != 0 {
		user, err := account.LookupUID(int(st.Uid))
		if err != nil {
			maillog.Warnf("cannot find username for uid %d", st.Uid)
			maillog.Warnf("%s: cannot find :include: file owner username", path)
			return d.later(s, "4.3.5", misconfigured)
		}
		s.user, uid, gid = user, user.UID, user.GID
	}
	var f *os.File
	err = d.asContext(s, uid, gid, func() (err error) {
		f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		maillog.Warnf("cannot open include file %s: %s", path, syserr.Text(err))
		return d.bounce(s, "5.3.5", misconfigured)
	}
	defer f.Close()
	if err := sameFile(f, info); err != nil {
		maillog.Warnf("cannot open include file %s: %s", path, syserr.Text(err))
		return d.later(s, "4.3.5", misconfigured)
	}
	s.origin, s.expandedFrom = fromInclude, s.local
	if s.owner == "" {
		s.owner = s.rcpt.Address
	}
	if !d.propagate["include"] {
		s.unmatched = ""
	}
	result, _ := d.lines(s, f)
	return result
}

// asContext runs f with the rights of the user context, which are the system's
// where there is none.
func (d *delivery) asContext(s state, uid, gid int, f func() error) error {
	if s.user == nil {
		return f()
	}
	return account.AsUser(uid, gid, []int{gid}, f)
}
