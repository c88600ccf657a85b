//go:build interop

package maptool

import "regexp"

// known are the differences between 3.7 and what we do that are meant to be.
// Where pattern matches a command, from is replaced by to in both results.
var known = []struct {
	why      string
	command  *regexp.Regexp
	from, to *regexp.Regexp
}{}

// normal takes out of a result what cannot be the same.
func normal(command, result string) string {
	result = lastModified.ReplaceAllString(result, "$1")
	return result
}
