// Package mongodb has the table type mongodb: documents of a collection, found
// by a filter (mongodb_table(5), spec tables §10.6).
package mongodb

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
)

func init() { table.Register("mongodb", table.Type{Open: open}) }

// timeout is the time for one lookup, with all its connections and replies.
// Options of the URI can only make it shorter. Tests do too.
var timeout = 30 * time.Second

// maxDepth limits arrays in arrays.
const maxDepth = 100

type mongodb struct {
	*dbcommon.Client
	server               *server
	database, collection string
	filter               *dbcommon.Template
	projection           bson.D
}

func open(typ, name string, o table.Options) (table.Table, error) {
	s, err := dbcommon.Parse(typ, name, o)
	if err != nil {
		return nil, err
	}
	t := &mongodb{}
	uri := s.String("uri", "", 1, 0)
	t.database = s.String("dbname", "", 1, 0)
	t.collection = s.String("collection", "", 1, 0)
	t.filter = s.Query(s.String("query_filter", "", 1, 0))
	format := s.ResultFormat(s.String("result_format", "%s", 1, 0))
	limit := s.Int("expansion_limit", 10, 0, 100)
	t.projection = projection(s)
	if s.Err() == nil {
		t.warnUnquoted(s)
		if err := checkURI(uri); err != nil {
			s.Fail("%s: bad uri: %s", s.Table(), err)
		}
	}
	t.Client = s.NewClient(format, limit)
	if err := s.Err(); err != nil {
		t.Client.Close()
		return nil, err
	}
	t.server = share(uri)
	return t, nil
}

// projection reads which fields are wanted. The identity of a document is no
// result.
func projection(s *dbcommon.Source) (p bson.D) {
	text := s.String("projection", "", 0, 0)
	fields := s.String("result_attribute", "", 0, 0)
	if (text == "") == (fields == "") {
		s.Fail("%s: specify exactly one of 'projection' or 'result_attribute'", s.Table())
		return nil
	}
	if text != "" {
		if err := bson.UnmarshalExtJSON([]byte(text), false, &p); err != nil {
			s.Fail("%s: bad projection: %s: %s", s.Table(), text, err)
			return nil
		}
		for _, e := range p {
			if e.Key == "_id" {
				return p
			}
		}
	}
	p = append(p, bson.E{Key: "_id", Value: 0})
	for _, field := range strings.FieldsFunc(fields, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		p = append(p, bson.E{Key: field, Value: 1})
	}
	return p
}

// warnUnquoted tells that a filter lets its key be more than a string.
func (t *mongodb) warnUnquoted(s *dbcommon.Source) {
	t.filter.Expansions(func(letter, quote byte) {
		if quote != '"' {
			maillog.Warnf("%s: query_filter >%s< contains >%%%c< without the recommended \"\" quotes", s.Table(), t.filter, letter)
		}
	})
}

// Fixed: addresses are looked up whole.
func (t *mongodb) Fixed() bool { return false }

// Flags: nor are the keys patterns.
func (t *mongodb) Flags() table.Flags { return 0 }

// Close closes the connections, unless another table uses them too.
func (t *mongodb) Close() error {
	t.server.close()
	return t.Client.Close()
}

// Lookup finds the documents of a key. The values of the last one count.
func (t *mongodb) Lookup(key string) (value string, found bool, err error) {
	if !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return "", false, nil
	}
	wanted, err := t.Wanted(key)
	if err != nil {
		return "", false, &table.Error{}
	}
	if !wanted {
		return "", false, nil
	}
	query, ok := t.filter.Expand(key, quoteJSON)
	if !ok {
		return "", false, nil
	}
	if _, ok := t.Results(key); !ok {
		return "", false, nil
	}
	var filter bson.D
	if err := bson.UnmarshalExtJSON([]byte(query), false, &filter); err != nil {
		maillog.Warnf("%s: failed to create a query from '%.200s': %s", t.Name(), query, err)
		return "", false, &table.Error{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client, err := t.server.get()
	if err != nil {
		return "", false, t.failed(err)
	}
	cursor, err := client.Database(t.database).Collection(t.collection).Find(ctx, filter, options.Find().SetProjection(t.projection))
	if err != nil {
		return "", false, t.failed(err)
	}
	defer cursor.Close(ctx)
	for cursor.Next(ctx) {
		results, _ := t.Results(key)
		results.Limit = fmt.Sprintf("%s: expansion limit exceeded for key: '%s'", t.Name(), key)
		if err := t.document(cursor.Current, results); err != nil {
			return "", false, err
		}
		value, found = results.Value()
	}
	if err := cursor.Err(); err != nil {
		return "", false, t.failed(err)
	}
	return value, found, nil
}

// failed logs that the server has not served.
func (t *mongodb) failed(err error) error {
	maillog.Warnf("%s: query failed: %s", t.Name(), oneLine(err))
	return &table.Error{}
}

// document takes the values of a document.
func (t *mongodb) document(document bson.Raw, results *dbcommon.Results) error {
	elements, err := document.Elements()
	if err != nil {
		return t.failed(err)
	}
	for _, e := range elements {
		key, err := e.KeyErr()
		if err != nil {
			return t.failed(err)
		}
		value, err := e.ValueErr()
		if err != nil {
			return t.failed(err)
		}
		if err := t.value(key, value, results, 0); err != nil {
			return err
		}
	}
	return nil
}

// value takes a value, or those of an array.
func (t *mongodb) value(field string, v bson.RawValue, results *dbcommon.Results, depth int) error {
	switch v.Type {
	case bson.TypeString:
		return results.Add(v.StringValue())
	case bson.TypeInt32:
		return results.Add(strconv.FormatInt(int64(v.Int32()), 10))
	case bson.TypeInt64:
		return results.Add(strconv.FormatInt(v.Int64(), 10))
	case bson.TypeArray:
		values, err := v.Array().Values()
		if err != nil {
			return t.failed(err)
		}
		if depth == maxDepth {
			return t.failed(fmt.Errorf("arrays nested deeper than %d", maxDepth))
		}
		for _, inner := range values {
			if err := t.value(field, inner, results, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	maillog.Warnf("%s: failed to retrieve value of '%s', Unknown result type %d.", t.Name(), field, v.Type)
	return nil
}

// quoteJSON quotes for a JSON string.
func quoteJSON(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

// oneLine is the text of an error for the log.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// checkURI says what is wrong with a URI. One whose servers are named in the
// DNS is looked at when it is needed.
func checkURI(uri string) error {
	if strings.HasPrefix(uri, "mongodb+srv://") {
		return nil
	}
	return options.Client().ApplyURI(uri).Validate()
}

// connect starts a client. It connects when it is asked for something.
func connect(uri string) (*mongo.Client, error) {
	return mongo.Connect(options.Client().ApplyURI(uri).SetAppName("suffix"))
}
