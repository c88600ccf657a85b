// Package attr reads and writes the attribute lists that Suffix programs send
// each other: ordered name/value pairs, ended by a list terminator.
//
// Three encodings exist (spec ipc §2): Null, used by nearly every protocol;
// Plain, used by anvil, policy delegation and cached-session properties; and
// Base64. Both ends know the order of the names; a Reader asks for them one by
// one and reports what does not fit in the words that Postfix logs.
package attr

import "errors"

// Form is an encoding of attribute lists.
type Form int

const (
	Null   Form = iota // name NUL value NUL … NUL
	Plain              // name=value LF … LF
	Base64             // b64(name):b64(value) LF … LF
)

// Limits on what one list may make a reader hold or skip (spec hardening §3.2).
const (
	maxHashEntries = 1024
	maxSkipped     = 1024
	maxNameLength  = 1024
)

// ErrEOF is returned when the peer closed the stream before the first byte of
// a list. It is the normal end of a conversation and is not logged.
var ErrEOF = errors.New("end of attribute stream")

// MissingError is returned by Reader methods when the list terminator stands where
// an attribute was asked for. The message names the missing attribute.
type MissingError struct{ Name, Stream string }

func (e *MissingError) Error() string {
	return "missing attribute " + e.Name + " in input from " + e.Stream
}

// UnexpectedError reports an attribute other than the one asked for.
type UnexpectedError struct{ Got, Want, Stream string }

func (e *UnexpectedError) Error() string {
	return "unexpected attribute " + e.Got + " from " + e.Stream + " (expecting: " + e.Want + ")"
}

// ValueError says that a list cannot be sent because of what is in it. Sending
// it again does not help.
type ValueError struct{ Name, Problem string }

func (e *ValueError) Error() string { return "attribute " + e.Name + ": " + e.Problem }
