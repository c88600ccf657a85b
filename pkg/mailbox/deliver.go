package mailbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

// Append copies the message to the end of an open mailbox, and makes sure that
// it is on disk. On any failure the mailbox is cut back to its old length. It
// returns where the message begins.
//
// limit is the largest size that the file may reach; 0 means no limit.
func (m *Mbox) Append(r *deliver.Request, o CopyOptions, limit int64) (start int64, err error) {
	regular := m.Info.Mode().IsRegular()
	if regular {
		if start, err = m.Seek(0, io.SeekEnd); err != nil {
			return 0, &CopyError{Err: err, Writing: true}
		}
	}
	var w io.Writer = m.File
	if regular && limit > 0 {
		w = &limited{f: m.File, left: limit - start}
	}
	complete := false
	defer func() {
		if complete || !regular {
			return
		}
		if cutErr := m.Truncate(start); cutErr != nil {
			maillog.Warnf("%s: cannot truncate after failed delivery: %s", m.Name(), syserr.Text(cutErr))
		}
	}()
	if err = Copy(w, r, o); err != nil {
		return start, err
	}
	if regular {
		if syncErr := m.Sync(); syncErr != nil && !errors.Is(syncErr, syscall.EINVAL) {
			return start, &CopyError{Err: syncErr, Writing: true}
		}
	}
	complete = true
	return start, nil
}

// sequence counts the maildir deliveries of this process.
var sequence atomic.Uint64

// limited refuses what would make a file larger than its limit, as the process
// file size limit of Postfix does.
type limited struct {
	f    *os.File
	left int64
}

func (l *limited) Write(b []byte) (int, error) {
	if int64(len(b)) > l.left {
		return 0, syscall.EFBIG
	}
	n, err := l.f.Write(b)
	l.left -= int64(n)
	return n, err
}

// DeliverMaildir stores the message as a new file of a maildir, whose name
// ends in a slash (spec delivery §6). Status is the code for errors without
// one of their own. The returned DSN says what went wrong; err is nil after a
// delivery.
func DeliverMaildir(r *deliver.Request, dir string, o CopyOptions, status string, limit int64) (dsn.DSN, error) {
	start := r.Times.HandOff
	host, err := os.Hostname()
	if err != nil {
		return dsn.DSN{}, fmt.Errorf("my own host name: %w", err)
	}
	host = strings.ReplaceAll(host, "/", "_")
	// The sequence number keeps deliveries of one process in one second apart.
	tmp := fmt.Sprintf("%stmp/%d.P%dQ%d.%s", dir, start.Unix(), os.Getpid(), sequence.Add(1), host)
	f, err := createIn(tmp)
	if err != nil {
		return maildirFailure(tmp, err, status)
	}
	defer func() {
		f.Close()
		if err := os.Remove(tmp); err != nil {
			maillog.Warnf("remove %s: %s", tmp, syserr.Text(err))
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return maildirFailure(tmp, err, status)
	}
	m := &Mbox{File: f, Info: info}
	if _, err := m.Append(r, o, limit); err != nil {
		var copyErr *CopyError
		if errors.As(err, &copyErr) {
			d := copyErr.DSN()
			warnAccess(copyErr.Err, d.Reason)
			d.Reason = "maildir delivery failed: " + d.Reason
			return d, err
		}
		return dsn.DSN{}, err
	}
	dev, ino := identity(info)
	final := fmt.Sprintf("%snew/%d.V%xI%xM%d.%s", dir, start.Unix(), dev, ino, start.Nanosecond()/1000, host)
	err = os.Link(tmp, final)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDirs(dir + "cur"); err == nil {
			if err = makeDirs(dir + "new"); err == nil {
				err = os.Link(tmp, final)
			}
		}
	}
	if err != nil && !sameFile(tmp, final) {
		return maildirFailure(final, err, status)
	}
	if err != nil {
		maillog.Infof("sane_link(%s,%s): worked around spurious NFS error", tmp, final)
	}
	return dsn.DSN{}, nil
}

func maildirFailure(path string, err error, status string) (dsn.DSN, error) {
	reason := fmt.Sprintf("create maildir file %s: %s", path, syserr.Text(err))
	warnAccess(err, reason)
	return dsn.DSN{
		Status: Status(err, status), Reason: "maildir delivery failed: " + reason,
	}, err
}

func warnAccess(err error, reason string) {
	if errors.Is(err, syscall.EACCES) {
		maillog.Warnf("maildir access problem for UID/GID=%d/%d: %s", syscall.Geteuid(), syscall.Getegid(), reason)
		maillog.Warnf("perhaps you need to create the maildirs in advance")
	}
}

// createIn creates a file, and once the folders above it where they are missing.
func createIn(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDirs(path[:strings.LastIndexByte(path, '/')]); err == nil {
			f, err = os.OpenFile(path, flags, 0o600)
		}
	}
	return f, err
}

func makeDirs(path string) error { return os.MkdirAll(path, 0o700) }

func identity(info os.FileInfo) (dev, ino uint64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev), st.Ino
	}
	return 0, 0
}

func sameFile(a, b string) bool {
	ia, errA := os.Lstat(a)
	ib, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}
