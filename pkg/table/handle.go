package table

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

// A Handle is a table as Open returns it: the driver behind the layer that
// checks UTF-8 and folds keys.
type Handle struct {
	driver Table // nil: unusable
	reason error
	name   string
	key    instance
	users  int // guarded by mu
	flags  Flags
	mode   Mode
	fixed  bool
	fold   bool
	utf8   bool

	registered string
}

// Err returns why the table cannot be used, nil if it can.
func (h *Handle) Err() error { return h.reason }

// Name returns "type:name"; once open, hash and btree tables have the name of
// their file there.
func (h *Handle) Name() string {
	if h.driver != nil {
		return h.driver.Name()
	}
	return h.name
}

// RegisteredName names this instance, with the mode and flags that it was
// opened with, for the log.
func (h *Handle) RegisteredName() string { return h.registered }

// Fixed says that partial keys make sense.
func (h *Handle) Fixed() bool { return h.fixed }

// Flags returns the flags that the table was opened with and those it has of
// its own.
func (h *Handle) Flags() Flags {
	if h.reason != nil {
		return h.flags | PatternKeys | Surrogate
	}
	if f, ok := h.driver.(Flagged); ok {
		return h.flags&^(Try0Null|Try1Null) | f.Flags()
	}
	return h.flags
}

// Changed says that the file behind the table has changed since it was opened.
func (h *Handle) Changed() bool {
	return h.driver != nil && h.mode == ReadOnly && h.driver.Changed()
}

// Owner returns the user who controls the table. An unusable table belongs to root.
func (h *Handle) Owner() (uid int, known bool) {
	if h.reason != nil {
		return 0, true
	}
	if o, ok := h.driver.(Owned); ok {
		return o.Owner()
	}
	return 0, false
}

// As returns the same open table for a use with other flags, which its driver
// must not care about. The result is valid until h is closed, and is not closed
// itself.
func (h *Handle) As(o Options) *Handle {
	if o.UTF8() {
		o.Flags |= UTF8Active
	}
	other := &Handle{name: h.name, reason: h.reason, flags: o.Flags, utf8: o.UTF8(), mode: h.mode,
		registered: registeredName(h.name, o)}
	if h.driver != nil {
		other.use(h.driver, o)
	}
	return other
}

// use puts a driver behind the layer.
func (h *Handle) use(driver Table, o Options) {
	h.driver, h.fixed = driver, driver.Fixed()
	if f, ok := driver.(Flagged); ok {
		h.flags |= f.Flags()
	} else if h.fixed {
		h.flags |= FixedKeys
	} else {
		h.flags |= PatternKeys
	}
	if h.fixed {
		h.fold = o.Flags&FoldFix != 0
	} else {
		h.fold = o.Flags&FoldMul != 0
	}
}

// Close gives up this use of the table; the last user closes it.
func (h *Handle) Close() error {
	mu.Lock()
	h.users--
	last := h.users == 0
	if last && shared[h.key] == h {
		delete(shared, h.key)
	}
	mu.Unlock()
	if !last {
		return nil
	}
	return h.close()
}

func (h *Handle) close() error {
	if h.driver == nil {
		return nil
	}
	return h.driver.Close()
}

func (h *Handle) unavailable() error {
	maillog.Warnf("%s is unavailable. %s", h.name, h.reason)
	return &Error{}
}

// normal returns the key as it is stored: folded if the table wants that.
// ok is false for a key that cannot be in the table.
func (h *Handle) normal(key string) (string, bool) {
	if h.utf8 && !isASCII(key) && !utf8.ValidString(key) {
		maillog.Warnf("%s: non-UTF-8 key \"%s\": malformed UTF-8 or invalid codepoint", h.Name(), key)
		return "", false
	}
	if h.fold {
		key = Fold(key, h.utf8)
	}
	return key, true
}

// Lookup finds the value of a key.
func (h *Handle) Lookup(key string) (string, bool, error) {
	if h.reason != nil {
		return "", false, h.unavailable()
	}
	key, ok := h.normal(key)
	if !ok {
		return "", false, nil
	}
	value, found, err := h.driver.Lookup(key)
	if err != nil || !found {
		return "", false, err
	}
	if h.utf8 && !isASCII(value) && !utf8.ValidString(value) {
		maillog.Warnf("%s: key \"%s\": non-UTF-8 value \"%s\": malformed UTF-8 or invalid codepoint", h.Name(), key, value)
		return "", false, &Error{Config: true}
	}
	return value, true, nil
}

// Update stores a value.
func (h *Handle) Update(key, value string) error {
	if h.reason != nil {
		return h.unavailable()
	}
	u, ok := h.driver.(Updater)
	if !ok {
		return &NotSupportedError{Table: h.Name(), Operation: "update"}
	}
	key, ok = h.normal(key)
	if !ok {
		return nil
	}
	if h.utf8 && !isASCII(value) && !utf8.ValidString(value) {
		maillog.Warnf("%s: key \"%s\": non-UTF-8 value \"%s\": malformed UTF-8 or invalid codepoint", h.Name(), key, value)
		return nil
	}
	return u.Update(key, value)
}

// Delete removes a key and reports whether it was there.
func (h *Handle) Delete(key string) (bool, error) {
	if h.reason != nil {
		return false, h.unavailable()
	}
	u, ok := h.driver.(Updater)
	if !ok {
		return false, &NotSupportedError{Table: h.Name(), Operation: "delete"}
	}
	key, ok = h.normal(key)
	if !ok {
		return true, nil
	}
	return u.Delete(key)
}

// Cursor starts a listing in table order.
func (h *Handle) Cursor() (Cursor, error) {
	if h.reason != nil {
		return nil, h.unavailable()
	}
	s, ok := h.driver.(Sequencer)
	if !ok {
		return nil, &NotSupportedError{Table: h.Name(), Operation: "sequence"}
	}
	return s.Cursor()
}

// Driver returns the table behind the layers, nil if it is unusable. postmap
// uses it to write records that take no part in folding.
func (h *Handle) Driver() Table { return h.driver }

// An Error is a failed table operation. Config: the table or its contents are
// wrong, trying again does not help (451 4.3.5); otherwise the trouble is
// temporary (451 4.3.0).
type Error struct {
	Config bool
	Err    error // what the system said; nil where it said nothing

	// Whole: the text of Err says everything, and a command ends with it as
	// it stands. Postfix's programs end at such an error; our daemons log it
	// as an error and the operation fails.
	Whole bool
}

// Error is the text that Postfix's commands show after "error: ".
func (e *Error) Error() string {
	if e.Err == nil {
		return "Application error"
	}
	return syserr.Text(e.Err)
}

// Unwrap returns the system's error.
func (e *Error) Unwrap() error { return e.Err }

// IsConfig says that an error of a table operation is not temporary.
func IsConfig(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Config
}

// A NotSupportedError reports an operation that a table does not have.
type NotSupportedError struct{ Table, Operation string }

func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("table %s: %s operation is not supported", e.Table, e.Operation)
}
