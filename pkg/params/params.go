// Package params declares every main.cf parameter once: name, kind, default,
// limits and meaning (spec config §4 and §14).
//
// The declarations stand in parameters.tsv, what has no effect yet in
// missing.tsv; table_gen.go holds the same as static data, so that a command
// that starts a thousand times a minute spends nothing on reading them. A program names a parameter by its Go identifier,
// whose type says which method of config.Main reads it:
//
//	limit := cfg.Int(params.DefaultProcessLimit)
//	hold := cfg.Time(params.MaxIdle)
package params

import (
	"slices"
	"strings"
)

//go:generate go run ./gen

// Kind says how the text of a parameter becomes a value.
type Kind uint8

const (
	KindString   Kind = iota // text, $-expanded
	KindRaw                  // text that the program expands itself, later
	KindBool                 // yes or no
	KindInt                  // 32-bit decimal number
	KindLong                 // 64-bit decimal number
	KindTime                 // number with a unit letter
	KindComputed             // text whose default derives from the host
)

// Flags of a declaration.
type Flags uint8

const (
	ReadOnly       Flags = 1 << iota // set by the program, never by main.cf
	Hidden                           // an old name: listed only where it is set
	CompatLevel                      // the default depends on compatibility_level
	Expr                             // the default of a number or boolean is an expression
	EndsWithBlank                    // the default ends in one blank
	DependsOnBuild                   // the default depends on the build or the system
	Private                          // Suffix's own: not among Postfix's parameters, listed only where set
)

// NoLimit marks an absent bound.
const NoLimit = -1 << 63

// A Param is one declaration.
type Param struct {
	Name     string
	Kind     Kind
	Flags    Flags
	Unit     byte   // default unit of a time: s, m, h, d, w
	Default  string // before expansion
	Min, Max int64  // length of a string, value of a number, seconds of a time; NoLimit
	Choices  string // permitted words, separated by |; "list:" in front: several may be given
	Programs string // programs that load it; * all
	Meaning  string // one line
	// Missing says why a setting has no effect in this version, in words that
	// go on after "NAME is set, but"; "" for a parameter that has one.
	Missing string
}

// TLSUsers stands in Programs for the programs that speak TLS.
const TLSUsers = "(TLS users)"

var tlsUsers = []string{"smtp", "lmtp", "smtpd", "tlsproxy", "postscreen", "posttls-finger"}

// LoadedBy tells whether a program loads the parameter: whether it is among
// Programs. Those that all programs load count for none.
func (p *Param) LoadedBy(program string) bool {
	for name := range strings.SplitSeq(p.Programs, ",") {
		if name == program || name == TLSUsers && slices.Contains(tlsUsers, program) {
			return true
		}
	}
	return false
}

// Typed indexes into the table: the type says how the parameter is read.
type (
	String uint16 // KindString and KindComputed
	Raw    uint16
	Bool   uint16
	Int    uint16
	Long   uint16
	Time   uint16
)

// An ID is any of the typed indexes.
type ID interface {
	~uint16
}

// Of returns the declaration behind a typed index.
func Of[T ID](id T) *Param { return &table[id] }

// All returns all declarations, sorted by name. The caller must not change them.
func All() []Param { return table[:] }

// Lookup finds a declaration by its name in main.cf, nil if there is none.
func Lookup(name string) *Param {
	lo, hi := 0, len(table)
	for lo < hi {
		mid := (lo + hi) / 2
		if table[mid].Name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(table) && table[lo].Name == name {
		return &table[lo]
	}
	return nil
}
