package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/go-sql-driver/mysql"

	"suffix/pkg/table/dbcommon"
)

// maxResult limits the values that a query may return, in bytes.
const maxResult = 32 << 20

// conn is a connection to a server.
type conn struct {
	driver.Conn
	charset string
	// noBackslash: the backslash is an ordinary character in this session's
	// string literals (sql_mode NO_BACKSLASH_ESCAPES).
	noBackslash bool
}

// queryError is a query that failed.
type queryError struct {
	text   string
	broken bool // the connection is of no more use
}

func (e *queryError) Error() string { return e.text }

// outcomeOf tells the pool what a query's error means for the connection.
func outcomeOf(err error) dbcommon.Outcome {
	var q *queryError
	switch {
	case err == nil:
		return dbcommon.Done
	case errors.As(err, &q) && !q.broken:
		return dbcommon.Refused
	}
	return dbcommon.Broken
}

// expand fills the key into the query.
func (c *conn) expand(t *dbcommon.Template, key string) (string, error) {
	// Without backslash escapes a double quote cannot be escaped so that it is
	// right in literals of both kinds: single quotes are what is documented.
	if c.noBackslash && strings.Contains(key, `"`) && inDoubleQuotes(t) {
		return "", &queryError{text: fmt.Sprintf("query failed: >%s< has an expansion in double quotes, which is not safe with sql_mode NO_BACKSLASH_ESCAPES", t)}
	}
	query, _ := t.Expand(key, c.quote)
	return query, nil
}

func inDoubleQuotes(t *dbcommon.Template) (found bool) {
	t.Expansions(func(_, quote byte) { found = found || quote == '"' })
	return found
}

// query returns all columns of all rows. A row's NULL is left out.
func (c *conn) query(ctx context.Context, text string, mustResult bool) ([]string, error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, text, nil)
	if err != nil {
		return nil, failure(ctx, "query failed", err)
	}
	defer rows.Close()
	columns := len(rows.Columns())
	if columns == 0 {
		if mustResult {
			return nil, &queryError{text: "query failed: query returned no result set(require_result_set = yes)"}
		}
		return nil, nil
	}
	asText(rows)
	var values []string
	size := 0
	row := make([]driver.Value, columns)
	for {
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, failure(ctx, "query failed", err)
		}
		for _, column := range row {
			if column == nil {
				continue
			}
			text := textOf(column)
			values = append(values, text)
			if size += len(text); size > maxResult {
				// What else there is to come is not worth reading.
				return nil, &queryError{text: fmt.Sprintf("query failed: result is larger than %d bytes", maxResult), broken: true}
			}
		}
	}
	if more, ok := rows.(driver.RowsNextResultSet); ok {
		switch err := more.NextResultSet(); {
		case errors.Is(err, io.EOF):
		case err != nil:
			return nil, failure(ctx, "query failed (mysql_next_result)", err)
		default:
			return nil, &queryError{text: "query failed: multiple result sets returning data are not supported"}
		}
	}
	return values, nil
}

// Errors of a server that is about to close the connection.
const (
	serverShutdown   = 1053
	connectionKilled = 1927
	normalShutdown   = 1077
)

func failure(ctx context.Context, what string, err error) error {
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		broken := said.Number == serverShutdown || said.Number == connectionKilled || said.Number == normalShutdown
		return &queryError{what + ": " + said.Message, broken}
	}
	text := "Lost connection to server during query"
	if ctx.Err() != nil {
		text += " (time limit exceeded)"
	}
	return &queryError{what + ": " + text, true}
}

// fieldTypeString is the column type CHAR in the protocol.
const fieldTypeString = 254

// asText makes the driver hand out the values of a result as the server wrote
// them. It would turn numbers into Go's types, which lose leading zeros
// (ZEROFILL) and the digits that the server chose for a floating-point number;
// it has no option for this, so the column types that it has noted are changed.
// Where that does not work any more, numbers take textOf's form.
func asText(rows driver.Rows) {
	result := reflect.ValueOf(rows)
	if result.Kind() != reflect.Pointer || result.Elem().Kind() != reflect.Struct {
		return
	}
	set := result.Elem().FieldByName("rs")
	if !set.IsValid() || set.Kind() != reflect.Struct {
		return
	}
	columns := set.FieldByName("columns")
	if !columns.IsValid() || columns.Kind() != reflect.Slice || columns.Type().Elem().Kind() != reflect.Struct {
		return
	}
	for i := range columns.Len() {
		kind := columns.Index(i).FieldByName("fieldType")
		if !kind.IsValid() || kind.Kind() != reflect.Uint8 || !kind.CanAddr() {
			return
		}
		reflect.NewAt(kind.Type(), kind.Addr().UnsafePointer()).Elem().SetUint(fieldTypeString)
	}
}

// textOf is a value as text.
func textOf(v driver.Value) string {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case string:
		return v
	}
	return fmt.Sprint(v)
}
