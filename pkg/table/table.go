// Package table opens lookup tables by their name "type:name" and looks up
// keys in them (spec tables).
//
// The package itself knows no type. Each driver lives in a package of its own
// and registers its types; a program that reads tables named in main.cf imports
// suffix/pkg/alltables for its side effects.
//
// All tables are safe for use by several goroutines.
package table

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/params"
)

// A Table is an open lookup table.
type Table interface {
	// Lookup finds the value of a key. An error is temporary trouble unless
	// IsConfig says that the table or its contents are wrong.
	Lookup(key string) (value string, found bool, err error)
	// Name is the table's name as in main.cf: "type:name".
	Name() string
	// Fixed says that the keys are fixed strings, so that it makes sense to
	// ask for parts of an address or a domain. Pattern tables get only whole keys.
	Fixed() bool
	// Changed says that the file behind the table has changed since it was
	// opened. It costs at most one system call.
	Changed() bool
	Close() error
}

// An Updater is a table that can be changed. What happens to a key that is
// already there depends on WarnDup, IgnoreDup and ReplaceDup; without any of
// them Update returns ErrDuplicate.
type Updater interface {
	Update(key, value string) error
	// Delete reports whether the key was there.
	Delete(key string) (found bool, err error)
}

// A Sequencer is a table whose entries can be listed.
type Sequencer interface {
	// Cursor starts a listing in table order.
	Cursor() (Cursor, error)
}

// A Cursor walks through a table. It survives changes of the table that are
// made while it is in use.
type Cursor interface {
	// Next returns the next entry; ok is false after the last one.
	Next() (key, value string, ok bool, err error)
}

// An Owned table knows whose data it holds. local(8) chooses by this the
// rights of a delivery to a command or file (spec tables §2.6).
type Owned interface {
	// Owner returns the user who controls the table; known is false where
	// that cannot be told.
	Owner() (uid int, known bool)
}

// Flagged tables have flags of their own that a client of proxymap is told,
// such as MultiWriter.
type Flagged interface {
	Flags() Flags
}

// ErrDuplicate is returned by Update for a key that exists, where no flag says
// what to do with it.
var ErrDuplicate = errors.New("duplicate entry")

// Config is what tables read from main.cf; *config.Main is one.
type Config interface {
	String(params.String) string
	Bool(params.Bool) bool
	Int(params.Int) int
	Time(params.Time) time.Duration
	Lookup(name string) (value string, ok bool)
	Dialect37() bool
}

// Mode says what a table is opened for.
type Mode int

const (
	ReadOnly  Mode = iota
	ReadWrite      // create it where it is missing
	Bulk           // write it anew
)

// octal is the mode as registered names show it (open(2) flags on Linux).
func (m Mode) octal() string {
	switch m {
	case ReadWrite:
		return "102"
	case Bulk:
		return "1102"
	}
	return "0"
}

// Options say how a table is opened. The zero value reads a table as it
// stands, without folding of keys.
type Options struct {
	Flags  Flags
	Mode   Mode
	Config Config      // nil: compiled-in defaults
	Perm   os.FileMode // permissions of a new file, 0: 0644

	// Existing: with ReadWrite, a missing table is an error.
	Existing bool

	// Command: the caller is a command that asks Err after Open and ends with
	// that text; nothing is logged at open.
	Command bool

	// Trial: nothing is logged at open, by a caller that asks Err.
	Trial bool

	depth int
}

// maxDepth limits tables inside tables (unionmap, pipemap, debug, proxy).
const maxDepth = 100

// Inner returns the options for a table that is a member of the one being opened.
func (o Options) Inner() Options {
	o.depth++
	return o
}

// UTF8 says whether the UTF-8 layer is active: the user of the table asked for
// it and smtputf8_enable is on.
func (o Options) UTF8() bool {
	return o.Flags&UTF8Request != 0 && (o.Config == nil || o.Config.Bool(params.Smtputf8Enable))
}

// Dialect37 says that tables behave and speak as those of Postfix 3.7.
func (o Options) Dialect37() bool { return o.Config != nil && o.Config.Dialect37() }

// An Opener opens a table of one type. name is the text after "type:". The
// error is the reason in Postfix's words; it is logged as it stands. The table
// gets keys already folded and checked.
type Opener func(typ, name string, o Options) (Table, error)

// A Type is a kind of table that a driver registers.
type Type struct {
	Open Opener
	// Bulk says that postmap(1) can create such tables.
	Bulk bool
	// Remote says that Open asks another process for the table. A driver of
	// the type itself that is linked too is preferred.
	Remote bool
}

var (
	mu     sync.Mutex
	types  = make(map[string]Type)
	shared = make(map[instance]*Handle)
)

// Register makes a type known. Drivers call it when they are initialised.
func Register(name string, t Type) {
	mu.Lock()
	defer mu.Unlock()
	if old, known := types[name]; known && t.Remote && !old.Remote {
		return
	}
	types[name] = t
}

// LookupType returns the driver of a type.
func LookupType(name string) (Type, bool) {
	mu.Lock()
	defer mu.Unlock()
	t, ok := types[name]
	return t, ok
}

// Types lists the types that this program has drivers for, sorted.
func Types() []string {
	mu.Lock()
	defer mu.Unlock()
	names := make([]string, 0, len(types))
	for name := range types {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// instance is what two uses of a table must have in common to share it.
type instance struct {
	spec   string
	mode   Mode
	flags  Flags
	config Config
}

// Fatal ends the program because of a table that cannot be opened, where
// daemon_table_open_error_is_fatal says so. Tests replace it.
var Fatal = maillog.Fatalf

// Open opens a table by its name in main.cf. The same table with the same
// options is opened once and shared. The result is never nil: a table that
// cannot be opened is logged as an error, and each lookup in it logs a warning
// and fails with a temporary error (spec tables §2.2). Err tells the reason.
func Open(spec string, o Options) *Handle {
	for o.Flags&NoProxy != 0 && strings.HasPrefix(spec, "proxy:") {
		spec = spec[len("proxy:"):]
	}
	if o.UTF8() {
		o.Flags |= UTF8Active
	}
	key := instance{spec, o.Mode, o.Flags, o.Config}
	mu.Lock()
	if h := shared[key]; h != nil && !h.Changed() {
		h.users++
		mu.Unlock()
		return h
	}
	delete(shared, key)
	mu.Unlock()

	h := open(spec, o)
	if h.reason != nil && !o.Command && !o.Trial {
		if o.Config != nil && o.Config.Bool(params.DaemonTableOpenErrorIsFatal) {
			Fatal("%s", h.reason)
		}
		maillog.Errorf("%s", h.reason)
	}

	mu.Lock()
	if other := shared[key]; other != nil {
		other.users++
		mu.Unlock()
		h.close()
		return other
	}
	h.key, h.users = key, 1
	h.registered = registeredName(spec, o)
	shared[key] = h
	mu.Unlock()
	return h
}

// Redirect, where it is set, says which type a table has instead of the one that
// main.cf names. An error is the reason why the table cannot be used.
var Redirect func(typ, name string, o Options) (instead string, err error)

func open(spec string, o Options) *Handle {
	h := &Handle{name: spec, flags: o.Flags, utf8: o.UTF8(), mode: o.Mode}
	typ, name, ok := strings.Cut(spec, ":")
	if !ok || typ == "" || name == "" {
		h.reason = fmt.Errorf("open dictionary: expecting \"type:name\" form instead of \"%s\"", spec)
		return h
	}
	if o.depth > maxDepth {
		h.reason = fmt.Errorf("%s:%s: tables nested deeper than %d", typ, "...", maxDepth)
		return h
	}
	if Redirect != nil {
		instead, err := Redirect(typ, name, o)
		if err != nil {
			h.reason = err
			return h
		}
		typ, h.name = instead, instead+":"+name
	}
	t, ok := LookupType(typ)
	if !ok {
		h.reason = fmt.Errorf("unsupported dictionary type: %s", typ)
		return h
	}
	driver, err := t.Open(typ, name, o)
	if err != nil {
		h.reason = err
		return h
	}
	h.use(driver, o)
	return h
}

// registeredName is the name of one instance of a table, as the log shows it
// when the table has changed (spec tables §1.1).
func registeredName(spec string, o Options) string {
	if o.Dialect37() {
		return spec + ":" + (o.Flags & (NoRegSub | NoProxy | NoUnauth)).String()
	}
	return spec + "(" + o.Mode.octal() + "," + (o.Flags &^ UTF8Active).String() + ")"
}
