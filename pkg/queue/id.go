package queue

import (
	"math"
	"strconv"
	"time"
)

// The digits of long queue IDs: no vowels, so that no ID is a word. The last
// one, 'z', separates time and inode and is not used in the inode, which
// therefore has base 51.
const digits52 = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"

const (
	secondsWidth = 6 // at least
	usecWidth    = 4 // exactly
	shortWidth   = 5 // hexadecimal digits of the microseconds
	longSep      = 'z'
	longSepMin   = secondsWidth + usecWidth
)

// The longest names of queues and messages.
const (
	maxNameLength = 100
	maxIDLength   = 255
)

// ValidName reports whether s can be the name of a queue directory.
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > maxNameLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !alnum(s[i]) {
			return false
		}
	}
	return true
}

// ValidID reports whether s can be a queue ID, or the name of a flush log:
// letters, digits and underscore. Temporary names contain other characters.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > maxIDLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !alnum(s[i]) && s[i] != '_' {
			return false
		}
	}
	return true
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// MakeID returns the queue ID of a file with this inode number that was
// created at t, in the long or short form (spec queue-files §2).
func MakeID(t time.Time, inode uint64, long bool) string {
	var buf [64]byte
	usec := uint64(t.Nanosecond() / 1000)
	if !long {
		return string(appendHex(appendUsecHex(buf[:0], usec), inode))
	}
	b := appendBase(buf[:0], uint64(t.Unix()), 52, secondsWidth)
	b = appendBase(b, usec, 52, usecWidth)
	b = append(b, longSep)
	return string(appendBase(b, inode, 51, 0))
}

func appendUsecHex(b []byte, usec uint64) []byte {
	const hex = "0123456789ABCDEF"
	if high := usec >> 20; high != 0 { // only in a name that nobody made
		b = append(b, hex[high&15])
	}
	return append(b, hex[usec>>16&15], hex[usec>>12&15], hex[usec>>8&15], hex[usec>>4&15], hex[usec&15])
}

func appendHex(b []byte, n uint64) []byte {
	var tmp [16]byte
	h := strconv.AppendUint(tmp[:0], n, 16)
	for _, c := range h {
		if c >= 'a' {
			c -= 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// appendBase adds n in the given base; the number zero has no digits.
func appendBase(b []byte, n, base uint64, width int) []byte {
	var tmp [16]byte
	i := len(tmp)
	for n > 0 {
		i--
		tmp[i] = digits52[n%base]
		n /= base
	}
	for len(tmp)-i < width {
		i--
		tmp[i] = digits52[0]
	}
	return append(b, tmp[i:]...)
}

// separator returns the index of the separator of a long ID, or -1 for the
// short form.
func separator(id string) int {
	for i := len(id) - 1; i >= longSepMin; i-- {
		if id[i] == longSep {
			return i
		}
	}
	return -1
}

// IsLong reports whether id has the long form.
func IsLong(id string) bool { return separator(id) >= 0 }

// Inode returns the inode number that id names. ok is false if there is none
// or it is no number.
func Inode(id string) (inode uint64, ok bool) {
	if sep := separator(id); sep >= 0 {
		return decode52(id[sep+1:], 51)
	}
	if len(id) <= shortWidth {
		return 0, false
	}
	for i := shortWidth; i < len(id); i++ {
		if !hexDigit(id[i]) {
			return 0, false
		}
	}
	inode, err := strconv.ParseUint(id[shortWidth:], 16, 64)
	return inode, err == nil
}

// Usec returns the microseconds that id names; 0 where they cannot be decoded.
func Usec(id string) uint64 {
	if sep := separator(id); sep >= 0 {
		usec, ok := decode52(id[sep-usecWidth:sep], 52)
		if !ok {
			return 0
		}
		return usec
	}
	if len(id) < shortWidth {
		return 0
	}
	usec, err := strconv.ParseUint(id[:shortWidth], 16, 64)
	if err != nil {
		return 0
	}
	return usec
}

// WithInode returns id's name for a file with another inode number: the same
// time, in the long or short form. A short ID stays short.
func WithInode(id string, inode uint64, long bool) string {
	var buf [64]byte
	sep := separator(id)
	switch {
	case sep >= 0 && long:
		b := append(buf[:0], id[:sep+1]...)
		return string(appendBase(b, inode, 51, 0))
	case sep >= 0:
		return string(appendHex(appendUsecHex(buf[:0], Usec(id)), inode))
	default:
		b := append(buf[:0], id[:min(len(id), shortWidth)]...)
		return string(appendHex(b, inode))
	}
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// decode52 reads a number; no digits are the number zero.
func decode52(s string, base uint64) (uint64, bool) {
	var n uint64
	for i := 0; i < len(s); i++ {
		d := uint64(values52[s[i]])
		if d >= base || n > (math.MaxUint64-d)/base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}

var values52 = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xff
	}
	for i := 0; i < len(digits52); i++ {
		v[digits52[i]] = byte(i)
	}
	return v
}()
