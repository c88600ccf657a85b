package ldap

import (
	"errors"
	"io"
	"os"

	goldap "github.com/go-ldap/ldap/v3"
)

// Results that do not come from a server, as the C library numbers them.
const (
	codeServerDown   = -1
	codeLocalError   = -2
	codeDecodeError  = -4
	codeTimeout      = -5
	codeAuthUnknown  = -6
	codeFilterError  = -7
	codeConnectError = -11
)

// A codeError is a result without a message of the server.
type codeError int

func (e codeError) Error() string { return textOf(int(e)) }

// codeOf returns the number of an error of the LDAP library or of this
// package, zero for none.
func codeOf(err error) int {
	if err == nil {
		return goldap.LDAPResultSuccess
	}
	var own codeError
	var theirs *goldap.Error
	switch {
	case errors.As(err, &own):
		return int(own)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return codeTimeout
	case errors.As(err, &theirs) && theirs.ResultCode < goldap.ErrorNetwork:
		return int(theirs.ResultCode)
	case theirs != nil && (theirs.ResultCode == goldap.ErrorFilterCompile || theirs.ResultCode == goldap.ErrorFilterDecompile):
		return codeFilterError
	case theirs != nil && theirs.ResultCode == goldap.ErrorNetwork, errors.Is(err, io.EOF):
		return codeServerDown
	case theirs != nil:
		return codeDecodeError
	}
	return codeServerDown
}

// textOf returns the C library's words for a result.
func textOf(code int) string {
	if text, ok := texts[code]; ok {
		return text
	}
	return "Unknown error"
}

var texts = map[int]string{
	-1: "Can't contact LDAP server", -2: "Local error", -3: "Encoding error", -4: "Decoding error", -5: "Timed out",
	-6: "Unknown authentication method", -7: "Bad search filter", -8: "User cancelled operation", -9: "Bad parameter to an ldap routine",
	-10: "Out of memory", -11: "Connect error", -12: "Not Supported", -13: "Control not found", -14: "No results returned",
	-15: "More results to return", -16: "Client Loop", -17: "Referral Limit Exceeded",
	0: "Success", 1: "Operations error", 2: "Protocol error", 3: "Time limit exceeded", 4: "Size limit exceeded", 5: "Compare False",
	6: "Compare True", 7: "Authentication method not supported", 8: "Strong(er) authentication required",
	9: "Partial results and referral received", 10: "Referral", 11: "Administrative limit exceeded", 12: "Critical extension is unavailable",
	13: "Confidentiality required", 14: "SASL bind in progress", 16: "No such attribute", 17: "Undefined attribute type",
	18: "Inappropriate matching", 19: "Constraint violation", 20: "Type or value exists", 21: "Invalid syntax", 32: "No such object",
	33: "Alias problem", 34: "Invalid DN syntax", 35: "Entry is a leaf", 36: "Alias dereferencing problem",
	47: "Proxy Authorization Failure", 48: "Inappropriate authentication", 49: "Invalid credentials", 50: "Insufficient access",
	51: "Server is busy", 52: "Server is unavailable", 53: "Server is unwilling to perform", 54: "Loop detected", 64: "Naming violation",
	65: "Object class violation", 66: "Operation not allowed on non-leaf", 67: "Operation not allowed on RDN", 68: "Already exists",
	69: "Cannot modify object class", 70: "Results too large", 71: "Operation affects multiple DSAs", 80: "Internal (implementation specific) error",
}
