package maps

import (
	"strings"

	"suffix/pkg/params"
	"suffix/pkg/table"
)

// Extension says how an address extension ("+ext") is told from a localpart
// (recipient_delimiter and what restricts it). The zero value knows no extensions.
type Extension struct {
	Delimiters          string // recipient_delimiter: a set of characters
	DoubleBounceSender  string // never split
	OwnerRequestSpecial bool   // owner-x and x-request are not split at '-'
}

// ExtensionFrom reads the parameters.
func ExtensionFrom(cfg table.Config) Extension {
	return Extension{
		Delimiters:          cfg.String(params.RecipientDelimiter),
		DoubleBounceSender:  cfg.String(params.DoubleBounceSender),
		OwnerRequestSpecial: cfg.Bool(params.OwnerRequestSpecial),
	}
}

// Split cuts a localpart at its first delimiter. The delimiter belongs to the
// extension.
func (e Extension) Split(local string) (user, extension string) {
	if e.Delimiters == "" {
		return local, ""
	}
	i := strings.IndexAny(local, e.Delimiters)
	if i <= 0 || e.whole(local) {
		return local, ""
	}
	return local[:i], local[i:]
}

// whole says that a localpart is never split.
func (e Extension) whole(local string) bool {
	if strings.EqualFold(local, "postmaster") || strings.EqualFold(local, "mailer-daemon") ||
		e.DoubleBounceSender != "" && strings.EqualFold(local, e.DoubleBounceSender) {
		return true
	}
	if !e.OwnerRequestSpecial || !strings.Contains(e.Delimiters, "-") {
		return false
	}
	lower := strings.ToLower(local)
	return strings.HasPrefix(lower, "owner-") || strings.HasSuffix(lower, "-request")
}
