package pgsql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"suffix/pkg/maillog"
	"suffix/pkg/table/dbcommon"
)

// maxResult limits the values that a query may return, in bytes.
const maxResult = 32 << 20

// conn is a connection to a server.
type conn struct{ *pgconn.PgConn }

// closeTime limits the farewell to the server.
const closeTime = 5 * time.Second

// Close ends the session.
func (c *conn) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return c.PgConn.Close(ctx)
}

func (c *conn) encoding() string { return strings.ToUpper(c.ParameterStatus("client_encoding")) }

// plainBackslash: the backslash is an ordinary character in string literals.
func (c *conn) plainBackslash() bool { return c.ParameterStatus("standard_conforming_strings") == "on" }

var errInvalidText = errors.New("invalid multibyte character")

// canQuote says whether a text can stand in a query in the connection's encoding.
func (c *conn) canQuote(text string) error {
	switch c.encoding() {
	case "UTF8", "UNICODE":
		if !utf8.ValidString(text) {
			return errInvalidText
		}
	case "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "JOHAB", "GB18030":
		// A character can end with the byte of a backslash there. Doubling
		// it would be wrong, and leaving it alone too.
		if !c.plainBackslash() && !isASCII(text) {
			return fmt.Errorf("%s with standard_conforming_strings off", errInvalidText)
		}
	}
	return nil
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// quote appends text to a query, to stand in a string literal.
func (c *conn) quote(b []byte, text string) []byte {
	plain := c.plainBackslash()
	for i := 0; i < len(text); i++ {
		ch := text[i]
		if ch == '\'' || ch == '\\' && !plain {
			b = append(b, ch)
		}
		b = append(b, ch)
	}
	return b
}

// emptyQueryError and copyError are results that are none.
var (
	errEmptyQuery = errors.New("unknown code 0x0")
	errCopy       = errors.New("unknown code 0x3")
	errTooLarge   = fmt.Errorf("result is larger than %d bytes", maxResult)
)

// query returns all columns of all rows that the last statement gives. A NULL
// is an empty value.
func (c *conn) query(ctx context.Context, text string) ([]string, error) {
	results := c.Exec(ctx, text)
	var values []string
	var result error
	for size := 0; results.NextResult(); {
		values = values[:0]
		rows := results.ResultReader()
		isCopy := len(rows.FieldDescriptions()) == 0
		for rows.NextRow() {
			for _, column := range rows.Values() {
				if size += len(column); size > maxResult {
					_ = c.Conn().Close() // the rest is not worth reading
					return nil, errTooLarge
				}
				values = append(values, string(column))
			}
		}
		tag, err := rows.Close()
		switch {
		case err != nil:
			result = err
		case tag.String() == "":
			result = errEmptyQuery
		case isCopy && strings.HasPrefix(tag.String(), "COPY"):
			result = errCopy
		default:
			result = nil
		}
	}
	if err := results.Close(); err != nil {
		return nil, err
	}
	return values, result
}

// failed logs the error of a query and says what it means for the connection.
func (c *conn) failed(ctx context.Context, t *dbcommon.Target, query string, err error) dbcommon.Outcome {
	var said *pgconn.PgError
	switch {
	case errors.Is(err, errEmptyQuery), errors.Is(err, errCopy):
		maillog.Warnf("pgsql query failed: %s from host %s", err, t.Text)
	case errors.Is(err, errTooLarge):
		maillog.Warnf("pgsql query failed: %s from host %s", err, t.Text)
		return dbcommon.Broken
	case errors.As(err, &said) && said.Severity != "FATAL":
		maillog.Warnf("pgsql query failed: fatal error from host %s: %s", t.Text, serverText(said, query))
	case ctx.Err() != nil:
		maillog.Warnf("pgsql query failed: fatal error from host %s: time limit exceeded\n", t.Text)
		return dbcommon.Broken
	case errors.As(err, &said):
		maillog.Warnf("pgsql query failed: fatal error from host %s: %s%s", t.Text, serverText(said, query), closedText)
		return dbcommon.Broken
	default:
		maillog.Warnf("pgsql query failed: fatal error from host %s: %s", t.Text, closedText)
		return dbcommon.Broken
	}
	// A transaction that the query left open would make the next ones fail.
	if c.IsClosed() || c.TxStatus() != 'I' {
		return dbcommon.Broken
	}
	return dbcommon.Refused
}
