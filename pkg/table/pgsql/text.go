package pgsql

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// Texts of PostgreSQL's client library end with a line break, which the log
// shows as "?".
const closedText = "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n\tbefore or while processing the request.\n"

// serverText is an error of the server as the client library words it; query is
// what it complains about, "" at login.
func serverText(e *pgconn.PgError, query string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:  %s\n", e.Severity, e.Message)
	position := e.Position
	if e.InternalQuery != "" && e.InternalPosition > 0 {
		position, query = e.InternalPosition, e.InternalQuery
	}
	if position > 0 && query != "" {
		b.WriteString(excerpt(query, int(position)-1))
	}
	for _, part := range []struct{ name, text string }{{"DETAIL", e.Detail}, {"HINT", e.Hint}, {"QUERY", e.InternalQuery}, {"CONTEXT", e.Where}} {
		if part.text != "" {
			fmt.Fprintf(&b, "%s:  %s\n", part.name, part.text)
		}
	}
	return b.String()
}

// Sizes of an excerpt, in characters.
const (
	excerptWidth = 60
	excerptRight = 10 // at least so many after the place
)

// excerpt shows the line of a query that an error is in, cut to a useful
// length, and below it a mark at character number at.
func excerpt(query string, at int) string {
	text := []rune(strings.ToValidUTF8(query, "?"))
	if at > len(text) {
		return ""
	}
	line, begin := 1, 0
	for i, r := range text[:at] {
		if r == '\n' {
			line, begin = line+1, i+1
		}
	}
	end := begin
	for end < len(text) && text[end] != '\n' {
		end++
	}
	before, after := "", ""
	if end-begin > excerptWidth {
		if begin+excerptWidth >= at+excerptRight {
			end, after = begin+excerptWidth, "..."
		} else {
			if at+excerptRight < end {
				end, after = at+excerptRight, "..."
			}
			if begin+excerptWidth < end {
				begin, before = end-excerptWidth, "..."
			}
		}
	}
	head := fmt.Sprintf("LINE %d: %s", line, before)
	blanks := strings.Repeat(" ", utf8.RuneCountInString(head)+at-begin)
	return head + strings.NewReplacer("\t", " ", "\r", " ").Replace(string(text[begin:end])) + after + "\n" + blanks + "^\n"
}
