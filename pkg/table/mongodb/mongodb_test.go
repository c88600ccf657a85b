package mongodb

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	_ "suffix/pkg/table/simple"
	"suffix/pkg/table/tabletest"
)

// request is a command as the test server gets it.
type request struct {
	id, opcode int32
	command    bson.D
}

func readRequest(c net.Conn) (r request, err error) {
	var header [16]byte
	if _, err := io.ReadFull(c, header[:]); err != nil {
		return r, err
	}
	body := make([]byte, binary.LittleEndian.Uint32(header[:])-16)
	if _, err := io.ReadFull(c, body); err != nil {
		return r, err
	}
	r.id, r.opcode = int32(binary.LittleEndian.Uint32(header[4:])), int32(binary.LittleEndian.Uint32(header[12:]))
	if r.opcode == 2004 { // an old query: flags, name, two numbers, command
		body = body[4+bytes.IndexByte(body[4:], 0)+1+8:]
	} else { // flags and a kind
		body = body[5:]
	}
	return r, bson.Unmarshal(body[:binary.LittleEndian.Uint32(body)], &r.command)
}

// reply makes the answer to a request.
func (r request) reply(document any) []byte {
	doc, err := bson.Marshal(document)
	if err != nil {
		panic(err)
	}
	opcode, head := uint32(2013), make([]byte, 5)
	if r.opcode == 2004 {
		opcode, head = 1, make([]byte, 20)
		head[16] = 1
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(16+len(head)+len(doc)))
	b = binary.LittleEndian.AppendUint32(b, 7)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.id))
	b = binary.LittleEndian.AppendUint32(b, opcode)
	return append(append(b, head...), doc...)
}

var hello = bson.D{{Key: "ismaster", Value: true}, {Key: "isWritablePrimary", Value: true}, {Key: "maxBsonObjectSize", Value: 16777216},
	{Key: "maxMessageSizeBytes", Value: 48000000}, {Key: "maxWriteBatchSize", Value: 1000}, {Key: "minWireVersion", Value: 0},
	{Key: "maxWireVersion", Value: 21}, {Key: "ok", Value: 1}}

func batch(documents ...bson.D) bson.D {
	all := make(bson.A, len(documents))
	for i, d := range documents {
		all[i] = d
	}
	return bson.D{{Key: "cursor", Value: bson.D{{Key: "firstBatch", Value: all}, {Key: "id", Value: int64(0)}, {Key: "ns", Value: "mail.users"}}},
		{Key: "ok", Value: 1}}
}

func doc(pairs ...any) (d bson.D) {
	for i := 0; i < len(pairs); i += 2 {
		d = append(d, bson.E{Key: pairs[i].(string), Value: pairs[i+1]})
	}
	return d
}

// documents are what the server finds, by the value that it is asked for.
var documents = map[string][]bson.D{
	"one":    {doc("dest", "a@b.c")},
	"two":    {doc("dest", "first"), doc("dest", "second")},
	"array":  {doc("dest", bson.A{"a", int32(7), int64(1 << 40), bson.A{"deep", bson.A{"deeper"}}}, "also", "x")},
	"other":  {doc("dest", true, "also", "x", "num", 1.5, "null", nil, "doc", doc("a", "b"))},
	"empty":  {doc("dest", "", "also", "x")},
	"none":   {doc()},
	"eleven": {doc("dest", bson.A{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"})},
	`q"\`:    {doc("dest", "quoted")},
	"ü":      {doc("dest", "ü@x")},
}

// server keeps the last search.
type fake struct {
	mu   sync.Mutex
	last bson.D
}

func (f *fake) serve(c net.Conn, _ int) {
	for {
		r, err := readRequest(c)
		if err != nil {
			return
		}
		switch r.command[0].Key {
		case "find":
			f.mu.Lock()
			f.last = r.command
			f.mu.Unlock()
			value := ""
			for _, e := range r.command {
				if filter, ok := e.Value.(bson.D); ok && e.Key == "filter" && len(filter) > 0 {
					value, _ = filter[0].Value.(string)
				}
			}
			if value == "fail" {
				c.Write(r.reply(doc("ok", 0, "errmsg", "no\nsuch luck", "code", 13)))
				continue
			}
			c.Write(r.reply(batch(documents[value]...)))
		case "endSessions":
			c.Write(r.reply(doc("ok", 1)))
		default:
			c.Write(r.reply(hello))
		}
	}
}

func (f *fake) got(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.last {
		if e.Key == name {
			text, _ := bson.MarshalExtJSON(bson.D{{Key: "x", Value: e.Value}}, false, false)
			return strings.TrimSuffix(strings.TrimPrefix(string(text), `{"x":`), "}")
		}
	}
	return ""
}

func settings(s *clienttest.Server, lines ...string) []string {
	return append([]string{"uri = mongodb://" + strings.ReplaceAll(s.Addr, "/", "%2F"), "dbname = mail", "collection = users", `query_filter = {"user": "%s"}`}, lines...)
}

func openTable(t *testing.T, s *clienttest.Server, lines ...string) (*table.Handle, string) {
	path := clienttest.File(t, settings(s, lines...)...)
	return tabletest.Open(t, "mongodb:"+path, table.Options{Flags: table.FoldFix}), path
}

func TestLookup(t *testing.T) {
	f := new(fake)
	s := clienttest.Serve(t, "tcp", f.serve)
	const unknown = "warning: mongodb:PATH: failed to retrieve value of "
	for _, c := range []struct {
		line, key, want string
		log             []string
	}{
		{"result_attribute = dest", "one", "a@b.c", nil},
		{"result_attribute = dest", "missing", "none", nil},
		{"result_attribute = dest", "two", "second", nil},
		{"result_attribute = dest also", "array", "a,7,1099511627776,deep,deeper,x", nil},
		{"result_attribute = dest", "none", "none", nil},
		{"result_attribute = dest", `q"\`, "quoted", nil},
		{"result_attribute = dest", "ü", "ü@x", nil},
		{"result_attribute = dest", "a\xff", "none", nil},
		{"result_attribute = dest", "a\x00b", "none", nil},
		{"result_attribute = dest", "ONE", "none", nil},
		{"result_attribute = dest", strings.Repeat("k", 1<<20), "none", nil},
		{"result_attribute = dest", "other", "x", []string{unknown + "'dest', Unknown result type 8.", unknown + "'num', Unknown result type 1.",
			unknown + "'null', Unknown result type 10.", unknown + "'doc', Unknown result type 3."}},
		{"result_attribute = dest", "empty", "x", []string{`warning: table "mongodb:PATH": empty lookup result for: "empty" -- ignored`}},
		{"result_attribute = dest", "eleven", "error", []string{"warning: mongodb:PATH: expansion limit exceeded for key: 'eleven'"}},
		{"result_attribute = dest\nexpansion_limit = 11", "eleven", "1,2,3,4,5,6,7,8,9,10,11", nil},
		{"result_attribute = dest\nresult_format = <%s>", "one", "<a@b.c>", nil},
		{"result_attribute = dest\ndomain = x.org", "one", "none", nil},
		{`projection = {"dest": 1}`, "one", "a@b.c", nil},
		{"result_attribute = dest", "fail", "error", []string{"warning: mongodb:PATH: query failed: (no\nsuch luck) no such luck"}},
		{"result_attribute = dest\nquery_filter = {\"user\": \"%u\", \"dom\": \"%d\"}", "one@x", "a@b.c", nil},
		{"result_attribute = dest\nquery_filter = {\"user\": \"%u\", \"dom\": \"%d\"}", "one", "none", nil},
	} {
		var got, path string
		log := tabletest.Logged(t, func() {
			var h *table.Handle
			h, path = openTable(t, s, c.line)
			got = tabletest.Find(t, h, c.key)
		})
		log = slices.DeleteFunc(log, func(line string) bool { return strings.Contains(line, "overriding earlier entry") })
		for i := range log {
			log[i] = strings.ReplaceAll(log[i], path, "PATH")
		}
		if c.key == "fail" && len(log) == 1 && strings.HasPrefix(log[0], "warning: mongodb:PATH: query failed: ") && strings.HasSuffix(log[0], "no such luck") {
			log = c.log
		}
		if got != c.want || !slices.Equal(log, c.log) {
			t.Errorf("%q, %q: %q, want %q; logged %q", c.line, c.key, got, c.want, log)
		}
	}
}

// What the server is asked for.
func TestQuery(t *testing.T) {
	f := new(fake)
	s := clienttest.Serve(t, "tcp", f.serve)
	for _, c := range []struct{ line, filter, projection string }{
		{"result_attribute = a, b", `{"user":"k\"\\\u0001k"}`, `{"_id":0,"a":1,"b":1}`},
		{`projection = {"a": {"$concat": ["$b", "/"]}}`, `{"user":"k\"\\\u0001k"}`, `{"a":{"$concat":["$b","/"]},"_id":0}`},
		{`projection = {"_id": 1, "a": 1}`, `{"user":"k\"\\\u0001k"}`, `{"_id":1,"a":1}`},
	} {
		h, _ := openTable(t, s, c.line)
		tabletest.Find(t, h, "k\"\\\x01k")
		if filter, projection := f.got("filter"), f.got("projection"); filter != c.filter || projection != c.projection || f.got("find") != `"users"` || f.got("$db") != `"mail"` {
			t.Errorf("%s: %s %s %s %s", c.line, filter, projection, f.got("find"), f.got("$db"))
		}
	}
}

// A key is never more than a string where the filter has quotes; where it has
// none, that is told.
func TestUnquotedFilter(t *testing.T) {
	s := clienttest.Serve(t, "tcp", new(fake).serve)
	var path string
	log := tabletest.Logged(t, func() {
		var h *table.Handle
		path = clienttest.File(t, append(settings(s), "query_filter = {\"n\": %s}", "result_attribute = a")...)
		h = tabletest.Open(t, "mongodb:"+path, table.Options{})
		if got := tabletest.Find(t, h, "12"); got != "none" {
			t.Error(got)
		}
		if got := tabletest.Find(t, h, "no json"); got != "error" {
			t.Error(got)
		}
	})
	if len(log) != 3 || log[1] != "warning: mongodb:"+path+": query_filter >{\"n\": %s}< contains >%s< without the recommended \"\" quotes" ||
		!strings.HasPrefix(log[2], "warning: mongodb:"+path+": failed to create a query from '{\"n\": no json}': ") {
		t.Errorf("%q", log)
	}
}

func TestFlags(t *testing.T) {
	s := clienttest.Serve(t, "tcp", new(fake).serve)
	h, _ := openTable(t, s, "result_attribute = a")
	if h.Fixed() || h.Flags()&(table.FixedKeys|table.PatternKeys) != 0 {
		t.Errorf("%v %s", h.Fixed(), h.Flags())
	}
}

func TestOpenErrors(t *testing.T) {
	const where = "uri = mongodb://x\ndbname = d\ncollection = c\nquery_filter = {}\n"
	for _, c := range []struct {
		lines string
		o     table.Options
		want  string
	}{
		{"", table.Options{}, "PATH: bad string length 0 < 1: uri = "},
		{"uri = mongodb://x\ndbname = d\ncollection = c", table.Options{}, "PATH: bad string length 0 < 1: query_filter = "},
		{where, table.Options{}, "mongodb:PATH: specify exactly one of 'projection' or 'result_attribute'"},
		{where + "projection = {}\nresult_attribute = a", table.Options{}, "mongodb:PATH: specify exactly one of 'projection' or 'result_attribute'"},
		{where + "result_attribute = a\nexpansion_limit = 101", table.Options{}, "PATH: invalid expansion_limit parameter value 101 > 100"},
		{where + "result_attribute = a\nresult_format = %x", table.Options{}, "db_common_parse: PATH: Invalid result template: %x"},
		{where + "projection = {", table.Options{}, "mongodb:PATH: bad projection: {: *"},
		{strings.Replace(where, "mongodb://x", "foo://x", 1) + "result_attribute = a", table.Options{}, "mongodb:PATH: bad uri: *"},
		{where, table.Options{Mode: table.ReadWrite}, "mongodb:PATH map requires O_RDONLY access mode"},
	} {
		path := clienttest.File(t, c.lines)
		c.o.Command = true
		h := table.Open("mongodb:"+path, c.o)
		want, open := strings.CutSuffix(strings.ReplaceAll(c.want, "PATH", path), "*")
		if h.Err() == nil || h.Err().Error() != want && !(open && strings.HasPrefix(h.Err().Error(), want)) {
			t.Errorf("%q: %v, want %s", c.lines, h.Err(), want)
		}
		h.Close()
	}
}

// Servers that are not there, hang, or speak nonsense: the time limit holds.
func TestHostileServers(t *testing.T) {
	saved := timeout
	timeout = 300 * time.Millisecond
	defer func() { timeout = saved }()
	afterHello := func(rest func(c net.Conn, r request)) func(c net.Conn, _ int) {
		return func(c net.Conn, _ int) {
			for {
				r, err := readRequest(c)
				if err != nil {
					return
				}
				if r.command[0].Key == "find" {
					rest(c, r)
					return
				}
				c.Write(r.reply(hello))
			}
		}
	}
	good := request{opcode: 2013}.reply(batch(documents["one"]...))
	for name, serve := range map[string]func(c net.Conn, _ int){
		"hang":    func(c net.Conn, _ int) { io.Copy(io.Discard, c) },
		"close":   func(c net.Conn, _ int) {},
		"garbage": func(c net.Conn, _ int) { io.WriteString(c, strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 100)) },
		"huge":    func(c net.Conn, _ int) { c.Write([]byte{0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0}); io.Copy(io.Discard, c) },
		"later":   afterHello(func(c net.Conn, r request) { io.Copy(io.Discard, c) }),
		"cut":     afterHello(func(c net.Conn, r request) { c.Write(r.reply(batch(documents["one"]...))[:len(good)-9]) }),
		"bad": afterHello(func(c net.Conn, r request) {
			b := r.reply(batch(documents["one"]...))
			b[len(b)-40] ^= 0x55
			c.Write(b[:len(b)-1])
		}),
		"endless": afterHello(func(c net.Conn, r request) {
			for {
				if _, err := c.Write(r.reply(doc("ok", 1))); err != nil {
					return
				}
			}
		}),
	} {
		s := clienttest.Serve(t, "tcp", serve)
		h, path := openTable(t, s, "result_attribute = dest")
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, "one") })
		if got != "error" || len(log) != 1 || !strings.HasPrefix(log[0], "warning: mongodb:"+path+": query failed: ") {
			t.Errorf("%s: %s %q", name, got, log)
		}
	}
}

// A server that restarts is found again.
func TestRestart(t *testing.T) {
	f := new(fake)
	var mu sync.Mutex
	var conns []net.Conn
	s := clienttest.Serve(t, "tcp", func(c net.Conn, n int) {
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
		f.serve(c, n)
	})
	h, _ := openTable(t, s, "result_attribute = dest")
	for range 2 {
		if got := tabletest.Find(t, h, "one"); got != "a@b.c" {
			t.Error(got)
		}
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
	}
}

// A quoted key is a JSON string of that key.
func FuzzQuote(f *testing.F) {
	f.Add("a\"b\\c\x01\x7fü")
	f.Fuzz(func(t *testing.T, key string) {
		if !utf8.ValidString(key) {
			return
		}
		var back string
		if err := json.Unmarshal(append(quoteJSON([]byte{'"'}, key), '"'), &back); err != nil || back != key {
			t.Errorf("%q: %q %v", key, back, err)
		}
	})
}
