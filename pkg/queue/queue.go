// Package queue names, creates, moves, finishes and finds the files below
// queue_directory (spec queue-files §1 to §4).
//
// A Tree knows how the queues are hashed and which form new queue IDs have.
// All paths it makes are relative to the current directory, which every
// program that touches the queue changes to queue_directory.
package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"suffix/pkg/params"
)

// The queues. Maildrop has local submissions; the next four have messages,
// Defer, Bounce and Trace have one log per message, Flush one per destination.
const (
	Maildrop = "maildrop"
	Incoming = "incoming"
	Active   = "active"
	Deferred = "deferred"
	Hold     = "hold"
	Corrupt  = "corrupt"
	Defer    = "defer"
	Bounce   = "bounce"
	Trace    = "trace"
	Flush    = "flush"
	Saved    = "saved"
)

// Mode bits of message files (spec queue-files §4.1).
const (
	ModeEmbryo   os.FileMode = 0600 // incomplete
	ModeReady    os.FileMode = 0700 // complete
	ModeCorrupt  os.FileMode = 0400 // found to be damaged by a delivery agent
	ModeFlush    os.FileMode = 0040 // the next delivery attempt ignores dead destinations
	ModeExpire   os.FileMode = 0010 // forced expiration
	ModeMaildrop os.FileMode = 0644 // incomplete, in maildrop
	ModeReadable os.FileMode = 0044 // what a complete file in maildrop has besides ModeReady
)

// A Config is where a Tree takes its parameters from: *config.Main.
type Config interface {
	String(params.String) string
	Int(params.Int) int
	Bool(params.Bool) bool
}

// A Tree is a queue directory. The zero value has no hashed queues and short
// IDs. It is safe for concurrent use once set up.
type Tree struct {
	Hashed     []string // hash_queue_names, lower case
	Depth      int      // hash_queue_depth
	LongIDs    bool     // enable_long_queue_ids: form of new IDs
	DontRemove bool     // dont_remove: Remove moves to Saved instead

	// Warn and Info log a line; where they are nil it is dropped.
	Warn func(format string, args ...any)
	Info func(format string, args ...any)

	clockOK atomic.Bool
	slowFS  atomic.Bool
}

// New returns the Tree that main.cf describes. Warnings go to warn.
func New(cfg Config, warn func(format string, args ...any)) *Tree {
	t := &Tree{
		Depth:      max(1, cfg.Int(params.HashQueueDepth)),
		LongIDs:    cfg.Bool(params.EnableLongQueueIds),
		DontRemove: cfg.Int(params.DontRemove) != 0,
		Warn:       warn,
	}
	t.Hashed = strings.FieldsFunc(strings.ToLower(cfg.String(params.HashQueueNames)), func(r rune) bool {
		return strings.ContainsRune(", \t\r\n", r)
	})
	return t
}

func (t *Tree) warnf(format string, args ...any) {
	if t.Warn != nil {
		t.Warn(format, args...)
	}
}

func (t *Tree) infof(format string, args ...any) {
	if t.Info != nil {
		t.Info(format, args...)
	}
}

// IsHashed reports whether a queue has subdirectories.
func (t *Tree) IsHashed(queueName string) bool {
	for _, name := range t.Hashed {
		if strings.EqualFold(name, queueName) {
			return true
		}
	}
	return false
}

// Path returns where the file with this ID, or flush log of this name, stands.
func (t *Tree) Path(queueName, id string) string {
	if !t.IsHashed(queueName) {
		return queueName + "/" + id
	}
	b := make([]byte, 0, len(queueName)+2+2*t.Depth+len(id))
	b = append(b, queueName...)
	b = append(b, '/')
	var usec [shortWidth]byte
	key := id
	if IsLong(id) {
		key = string(appendUsecHex(usec[:0], Usec(id)))
	}
	for i := 0; i < t.Depth; i++ {
		c := byte('_')
		if i < len(key) {
			c = key[i]
		}
		b = append(b, c, '/')
	}
	return string(append(b, id...))
}

// Open opens the file of a message or log. It creates missing directories
// where flags contain os.O_CREATE.
func (t *Tree) Open(queueName, id string, flags int, mode os.FileMode) (*os.File, error) {
	name := t.Path(queueName, id)
	f, err := os.OpenFile(name, flags|syscall.O_CLOEXEC, mode)
	if errors.Is(err, fs.ErrNotExist) && flags&os.O_CREATE != 0 {
		if err := makeParents(name); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(name, flags|syscall.O_CLOEXEC, mode)
	}
	return f, err
}

// Move renames a message or log file from one queue to another. It creates
// missing directories.
func (t *Tree) Move(from, to, id string) error {
	return t.Rename(t.Path(from, id), t.Path(to, id))
}

// Rename renames a file inside the queue directory and creates missing
// directories. A rename that failed but took place, as network file systems
// report it, counts as success.
func (t *Tree) Rename(from, to string) error {
	err := t.rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, statErr := os.Lstat(from); statErr != nil {
		return err
	}
	if mkErr := makeParents(to); mkErr != nil {
		return mkErr
	}
	return t.rename(from, to)
}

func (t *Tree) rename(from, to string) error {
	err := syscall.Rename(from, to)
	if err == nil {
		return nil
	}
	if _, statErr := os.Lstat(from); errors.Is(statErr, fs.ErrNotExist) {
		if _, statErr := os.Lstat(to); statErr == nil {
			t.infof("sane_rename(%s,%s): worked around spurious NFS error", from, to)
			return nil
		}
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// makeParents creates the hash directories above a file. The queue itself must
// exist: its owner and mode are not for us to choose.
func makeParents(file string) error {
	dir := path.Dir(file)
	for i := strings.IndexByte(dir, '/'); i >= 0 && i < len(dir); {
		next := strings.IndexByte(dir[i+1:], '/')
		end := len(dir)
		if next >= 0 {
			end = i + 1 + next
		}
		if err := os.Mkdir(dir[:end], 0700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create directory %s: %w", dir[:end], err)
		}
		i = end
	}
	return nil
}

// Remove deletes a message file or log, or, for debugging with dont_remove,
// moves it to the saved directory.
func (t *Tree) Remove(queueName, id string) error {
	name := t.Path(queueName, id)
	if !t.DontRemove {
		// One system call: os.Remove tries a folder next.
		if err := syscall.Unlink(name); err != nil {
			return &fs.PathError{Op: "unlink", Path: name, Err: err}
		}
		return nil
	}
	to := Saved + "/" + id
	for {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
		to += "+"
	}
	return t.rename(name, to)
}

// Touch sets access and modification time of a file in the queue; for a
// message this is the time before which it is not tried.
func (t *Tree) Touch(queueName, id string, when time.Time) error {
	return os.Chtimes(t.Path(queueName, id), when, when)
}
