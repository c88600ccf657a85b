package sqlite

import (
	"sync"
	"syscall"
	"time"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"suffix/pkg/table/dbcommon"
)

// lockTime is how long a lookup waits while another program writes, in
// milliseconds. Postfix does not wait.
const lockTime = 2000

// database is an open database. It is used by one goroutine at a time.
//
// SQLite's own interface is used, not that of database/sql: only there a query
// may have more statements than are run, and values are as SQLite writes them.
type database struct {
	tls    *libc.TLS
	handle uintptr

	mu      sync.Mutex
	running bool // a query runs that may be interrupted
}

// openDatabase opens a file. text is SQLite's word on a failure, err the system's.
func openDatabase(path string, create bool) (db *database, text string, err error) {
	db = &database{tls: libc.NewTLS()}
	name, err := libc.CString(path)
	if err != nil {
		return nil, "out of memory", err
	}
	defer libc.Xfree(db.tls, name)
	result := db.pointer()
	if result == 0 {
		return nil, "out of memory", syscall.ENOMEM
	}
	defer libc.Xfree(db.tls, result)
	flags := int32(sqlite3.SQLITE_OPEN_READONLY)
	if create {
		flags = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE
	}
	status := sqlite3.Xsqlite3_open_v2(db.tls, name, result, flags, 0)
	db.handle = libc.AtomicLoadNUintptr(result, 0)
	if status != sqlite3.SQLITE_OK {
		text, err = db.message(), syscall.Errno(0)
		if db.handle != 0 {
			err = syscall.Errno(sqlite3.Xsqlite3_system_errno(db.tls, db.handle))
		}
		db.close()
		return nil, text, err
	}
	db.setFloatDigits()
	if !create {
		sqlite3.Xsqlite3_busy_timeout(db.tls, db.handle, lockTime)
	}
	return db, "", nil
}

// floatDigits is the precision of floating-point numbers as text: what SQLite
// had in all versions before 3.52, and what its results are known for.
const floatDigits = 15

func (db *database) setFloatDigits() {
	// Each argument of a C function with "..." takes 8 bytes.
	if arguments := libc.Xcalloc(db.tls, 2, 8); arguments != 0 {
		sqlite3.Xsqlite3_db_config(db.tls, db.handle, sqlite3.SQLITE_DBCONFIG_FP_DIGITS, libc.VaList(arguments, int32(floatDigits), uintptr(0)))
		libc.Xfree(db.tls, arguments)
	}
}

// pointer allocates room for a pointer that SQLite returns; 0: no memory.
func (db *database) pointer() uintptr { return libc.Xcalloc(db.tls, 1, 8) }

// message is SQLite's text of the last error.
func (db *database) message() string {
	return libc.GoString(sqlite3.Xsqlite3_errmsg(db.tls, db.handle))
}

func (db *database) close() {
	if db.tls == nil {
		return
	}
	sqlite3.Xsqlite3_close_v2(db.tls, db.handle)
	db.tls.Close()
	db.tls, db.handle = nil, 0
}

// statement is a query that is being run.
type statement struct {
	db     *database
	handle uintptr
}

// stepError is a query that failed while it ran.
type stepError struct{ text string }

func (e *stepError) Error() string { return e.text }

// prepare compiles the first statement of a query. text tells what is wrong.
func (db *database) prepare(query string) (s *statement, text string) {
	if db.handle == 0 {
		return nil, "the database is closed"
	}
	sql, err := libc.CString(query)
	if err != nil {
		return nil, "out of memory"
	}
	defer libc.Xfree(db.tls, sql)
	result := db.pointer()
	if result == 0 {
		return nil, "out of memory"
	}
	defer libc.Xfree(db.tls, result)
	if sqlite3.Xsqlite3_prepare_v2(db.tls, db.handle, sql, -1, result, 0) != sqlite3.SQLITE_OK {
		return nil, db.message()
	}
	return &statement{db, libc.AtomicLoadNUintptr(result, 0)}, ""
}

// each calls f with the first column of each row; NULL is left out. A query
// that takes too long is interrupted.
func (s *statement) each(f func(value string) error) error {
	tls, handle := s.db.tls, s.handle
	if handle == 0 { // only comments or blanks
		return &stepError{"not an error"}
	}
	s.db.setRunning(true)
	interrupt := time.AfterFunc(dbcommon.QueryTime, s.db.interrupt)
	defer func() {
		interrupt.Stop()
		s.db.setRunning(false)
	}()
	for {
		switch sqlite3.Xsqlite3_step(tls, handle) {
		case sqlite3.SQLITE_DONE:
			return nil
		case sqlite3.SQLITE_ROW:
		default:
			return &stepError{s.db.message()}
		}
		if sqlite3.Xsqlite3_column_count(tls, handle) == 0 {
			continue
		}
		if p := sqlite3.Xsqlite3_column_text(tls, handle, 0); p != 0 {
			if err := f(libc.GoString(p)); err != nil {
				return err
			}
		}
	}
}

func (db *database) setRunning(running bool) {
	db.mu.Lock()
	db.running = running
	db.mu.Unlock()
}

// interrupt ends the query that runs. It has a C state of its own, as that of
// the database is in use.
func (db *database) interrupt() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if !db.running {
		return
	}
	tls := libc.NewTLS()
	defer tls.Close()
	sqlite3.Xsqlite3_interrupt(tls, db.handle)
}

// finalize ends a query. text is that of the error which ended it, if any.
func (s *statement) finalize() (text string) {
	if sqlite3.Xsqlite3_finalize(s.db.tls, s.handle) != sqlite3.SQLITE_OK {
		return s.db.message()
	}
	return ""
}
