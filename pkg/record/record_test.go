package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// maildropFile is a submission by "sendmail -N success,failure -R hdrs -V …",
// with the offsets at which its records stand.
var maildropFile = []struct {
	offset int64
	typ    Type
	data   string
}{
	{0x00, Time, "1795359239 208354"},
	{0x13, Attr, "envelope_id=env123"},
	{0x27, Attr, "ret_flags=2"},
	{0x34, Attr, "rewrite_context=local"},
	{0x4b, FullName, "Alice Full"},
	{0x57, Sender, "alice@example.com"},
	{0x6a, Attr, "encoding=8bit"},
	{0x79, Attr, "notify_flags=6"},
	{0x89, Recipient, "bob@defer.test"},
	{0x99, Attr, "notify_flags=6"},
	{0xa9, Recipient, "carol@hang.test"},
	{0xba, Content, ""},
	{0xbc, Text, "Subject: local test"},
	{0xd1, Text, "From: root"},
	{0xdd, Text, ""},
	{0xdf, Text, "body line 1"},
	{0xec, Text, ""},
	{0xee, Fragment, "last, no newline"},
	{0x100, Extracted, ""},
	{0x102, End, ""},
}

func TestGoldenFile(t *testing.T) {
	var file []byte
	for _, r := range maildropFile {
		if int64(len(file)) != r.offset {
			t.Fatalf("record %c at %#x, want %#x", r.typ, len(file), r.offset)
		}
		file = Append(file, r.typ, r.data)
	}
	if want := "\x54\x11\x31\x37\x39\x35\x33\x35\x39\x32\x33\x39\x20\x32\x30\x38\x33\x35\x34\x41\x12\x65\x6e\x76"; !strings.HasPrefix(string(file), want) {
		t.Fatalf("file starts % x", file[:len(want)])
	}
	junk := append(bytes.Clone(file), "R\x01x"...) // after the end: not there
	fr := NewFileReader(bytes.NewReader(junk), "maildrop/X")
	for _, want := range maildropFile {
		typ, data, err := fr.Next()
		if err != nil || typ != want.typ || string(data) != want.data || fr.Offset() != want.offset {
			t.Fatalf("at %#x: %c %q %v, want %c %q at %#x", fr.Offset(), typ, data, err, want.typ, want.data, want.offset)
		}
	}
	if _, _, err := fr.Next(); err != io.EOF {
		t.Errorf("after end record: %v, want EOF", err)
	}
	sr := NewReader(iotest.OneByteReader(bytes.NewReader(file)), "stdin", 2048)
	for _, want := range maildropFile {
		typ, data, err := sr.Next()
		if err != nil || typ != want.typ || string(data) != want.data {
			t.Fatalf("stream: %c %q %v, want %c %q", typ, data, err, want.typ, want.data)
		}
	}
	if _, _, err := sr.Next(); err != io.EOF {
		t.Errorf("stream after last record: %v, want EOF", err)
	}
}

func TestLengths(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 129, 2048, 8191, 8192, 8193, windowSize - 3, windowSize, windowSize + 1, 1 << 20} {
		payload := strings.Repeat("a\x00b", n/3+1)[:n]
		file := Append(nil, Text, payload)
		file = Append(file, Text, "next")
		readers := map[string]func() (Type, []byte, error){
			"stream": NewReader(bytes.NewReader(file), "s", 0).Next,
			"file":   NewFileReader(bytes.NewReader(file), "f").Next,
		}
		for name, next := range readers {
			typ, data, err := next()
			if err != nil || typ != Text || string(data) != payload {
				t.Errorf("%s: length %d: got type %c, %d bytes, %v", name, n, typ, len(data), err)
			}
			if typ, data, err := next(); err != nil || typ != Text || string(data) != "next" {
				t.Errorf("%s: after length %d: got type %c, %q, %v", name, n, typ, data, err)
			}
		}
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"T\x81\x80\x80\x80\x08", "PATH: too many length bits, record type 84"},
		{"T", "PATH: unexpected EOF reading length, record type 84"},
		{"T\x81\x80", "PATH: unexpected EOF reading length, record type 84"},
		{"T\x05abc", "PATH: unexpected EOF in data, record type 84 length 5"},
		{"T\xff\xff\xff\x7fabc", "PATH: unexpected EOF in data, record type 84 length 268435455"},
		{"N\x81\x10" + strings.Repeat("x", 2049), "PATH: illegal length 2049, record type 78"},
		{"\x00\x05abc", "PATH: unexpected EOF in data, record type 0 length 5"},
	} {
		limit := 0
		if strings.Contains(c.want, "illegal") {
			limit = 2048
		}
		fr := NewFileReader(strings.NewReader(c.in), "PATH")
		fr.SetMax(limit)
		for name, next := range map[string]func() (Type, []byte, error){
			"stream": NewReader(strings.NewReader(c.in), "PATH", limit).Next, "file": fr.Next,
		} {
			_, _, err := next()
			if err == nil || err.Error() != c.want || !IsBad(err) {
				t.Errorf("%s: %q: got error %v, want %s", name, c.in, err, c.want)
			}
		}
	}
	broken := errors.New("broken")
	_, _, err := NewReader(io.MultiReader(strings.NewReader("T\x05a"), iotest.ErrReader(broken)), "P", 0).Next()
	if !errors.Is(err, broken) {
		t.Errorf("read failure: got %v, want it to wrap the cause", err)
	}
	_, _, err = NewReader(iotest.ErrReader(broken), "P", 0).Next()
	if !errors.Is(err, broken) || IsBad(err) {
		t.Errorf("read failure between records: got %v, want the cause", err)
	}
}

func TestPointers(t *testing.T) {
	file := Append(nil, Sender, "a")           // 0
	file = AppendNumber(file, Pointer, 0, 1)   // 3: placeholder
	file = AppendNumber(file, Padding, 0, 5)   // 6
	patch := len(file)                         // 13
	file = AppendNumber(file, Pointer, 0, 15)  // 13, 17 bytes
	file = Append(file, Text, "end")           // 30
	file = Append(file, End, "")               // 35
	heap := int64(len(file))                   // 37
	file = Append(file, Text, "heap")          // 37
	file = AppendNumber(file, Pointer, 30, 15) // back
	copy(file[patch:], AppendNumber(nil, Pointer, heap, 15))

	var got []string
	fr := NewFileReader(bytes.NewReader(file), "f")
	for {
		typ, data, err := fr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d%c%s", fr.Offset(), typ, data))
	}
	if want := "0Sa 37Nheap 30Nend 35E"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}

	fr = NewFileReader(bytes.NewReader(file), "f")
	fr.Raw = true
	got = nil
	for {
		typ, data, err := fr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d%c%d", fr.Offset(), typ, len(data)))
	}
	if want := "0S1 3p1 6w5 13p15 30N3 35E0 37N4 43p15"; strings.Join(got, " ") != want {
		t.Errorf("raw: got %v, want %s", got, want)
	}
}

func TestPointerErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"p\x033x1", "f: malformed pointer record value: 3x1"},
		{"p\x01 ", "f: malformed pointer record value:  "},
		{"p\x00", "f: malformed pointer record value: "},
		{"p\x02-1", "f: malformed pointer record value: -1"},
		{"p\x1499999999999999999999", "f: malformed pointer record value: 99999999999999999999"},
		// 0: jumps to itself for ever
		{"N\x00p\x0f              2", "f: too many reverse jump records"},
	} {
		fr := NewFileReader(strings.NewReader(c.in), "f")
		var err error
		for err == nil {
			_, _, err = fr.Next()
		}
		if err.Error() != c.want {
			t.Errorf("%q: got %v, want %s", c.in, err, c.want)
		}
	}
	// Beyond the end is the end.
	if _, _, err := NewFileReader(strings.NewReader("p\x04 999"), "f").Next(); err != io.EOF {
		t.Errorf("pointer beyond end: got %v, want EOF", err)
	}
}

func TestSizes(t *testing.T) {
	line := AppendSizes(nil, Sizes{Segment: 327, Offset: 819, Recipients: 2, Options: 14, Content: 327})
	if want := "C\x5f            327             819               2              14             327               0"; string(line) != want {
		t.Errorf("got %q, want %q", line, want)
	}
	for _, c := range []struct {
		in     string
		want   Sizes
		fields int
	}{
		{"  327 819 2 14 381 0", Sizes{327, 819, 2, 14, 381, 0}, 6},
		{"  327 819 2 14 0 49", Sizes{327, 819, 2, 14, 327, 49}, 6},
		{"  327 819 2 14 1 64", Sizes{327, 819, 2, 14, 1, 0}, 6},
		{"  327 819 2", Sizes{327, 819, 2, 1, 327, 0}, 3},
		{"  327 819 2 14", Sizes{327, 819, 2, 14, 327, 0}, 4},
		{"327", Sizes{327, 0, 0, 1, 327, 0}, 1},
		{"-1 -1 -1 -1 -1 32", Sizes{-1, -1, -1, -1, -1, 32}, 6},
	} {
		got, fields, err := ParseSizes([]byte(c.in))
		if err != nil || got != c.want || fields != c.fields {
			t.Errorf("%q: got %+v %d %v, want %+v %d", c.in, got, fields, err, c.want, c.fields)
		}
	}
	for _, in := range []string{"", "x", "1 2", "1 2 99999999999", "99999999999999999999 1 1"} {
		if got, _, err := ParseSizes([]byte(in)); err != ErrWeirdSize {
			t.Errorf("%q: got %+v, %v, want an error", in, got, err)
		}
	}
}

func TestTime(t *testing.T) {
	if got := string(AppendTime(nil, 1795359239, 208354)); got != "T\x111795359239 208354" {
		t.Errorf("got %q", got)
	}
	for _, c := range []struct {
		in        string
		sec, usec int64
		ok        bool
	}{
		{"1795359239 208354", 1795359239, 208354, true},
		{"1795359239", 1795359239, 0, true},
		{"12x34", 12, 0, true},
		{"", 0, 0, false},
		{"x", 0, 0, false},
	} {
		sec, usec, ok := ParseTime([]byte(c.in))
		if sec != c.sec || usec != c.usec || ok != c.ok {
			t.Errorf("%q: got %d %d %v", c.in, sec, usec, ok)
		}
	}
}

func TestSplitAttr(t *testing.T) {
	for _, c := range []struct{ in, name, value, err string }{
		{"a=b", "a", "b", ""},
		{" a = b c ", "a", "b c", ""},
		{"a=", "a", "", ""},
		{"a==b", "a", "=b", ""},
		{"", "", "", "missing attribute name"},
		{"=b", "", "", "missing attribute name"},
		{"a b=c", "", "", "missing '=' after attribute name"},
		{"a", "", "", "missing '=' after attribute name"},
	} {
		name, value, err := SplitAttr([]byte(c.in))
		text := ""
		if err != nil {
			text = err.Error()
		}
		if string(name) != c.name || string(value) != c.value || text != c.err {
			t.Errorf("%q: got %q %q %q", c.in, name, value, text)
		}
	}
	if got, want := string(AppendAttr(nil, "a", "b")), string(Append(nil, Attr, "a=b")); got != want {
		t.Errorf("AppendAttr: got %q, want %q", got, want)
	}
	long := strings.Repeat("v", 300)
	if got, want := string(AppendAttr(nil, "name", long)), string(Append(nil, Attr, "name="+long)); got != want {
		t.Errorf("AppendAttr: got %q, want %q", got, want)
	}
}

func TestAppendText(t *testing.T) {
	got := string(AppendText(nil, "abcdefg", 3, Text))
	if want := "L\x03abcL\x03defN\x01g"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(AppendText(nil, "abc", 3, Fragment)); got != "L\x03abc" {
		t.Errorf("got %q", got)
	}
}

func TestPatch(t *testing.T) {
	file := Append(nil, Sender, "a")
	at := int64(len(file))
	file = Append(file, Recipient, "b")
	warn := int64(len(file))
	file = AppendNumber(file, Warn, 1795359239, NumberWidth)
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, file, 0600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 {
		if err := MarkDone(f, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := PatchNumber(f, warn, Warn, -1); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []int64{0, -1, at + 1, 1000} {
		if err := MarkDone(f, bad); err == nil {
			t.Errorf("offset %d: no error", bad)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if want := "S\x01aD\x01bW\x0f             -1"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSets(t *testing.T) {
	for _, s := range []Set{EnvelopeSet, ContentSet, ExtractedSet} {
		if s.Has(0) {
			t.Errorf("type 0 is in %q", s)
		}
	}
	if !EnvelopeSet.Has(Sender) || ContentSet.Has(Sender) || !ExtractedSet.Has(End) {
		t.Error("membership is wrong")
	}
	if Type('?').Name() != "unknown_record_type" || Sender.Name() != "sender" || Delay.Name() != "unknown_record_type" {
		t.Error("names are wrong")
	}
}

func TestNoAllocation(t *testing.T) {
	var file []byte
	for range 1000 {
		file = Append(file, Text, strings.Repeat("x", 70))
	}
	in := bytes.NewReader(file)
	fr := NewFileReader(in, "f")
	if _, _, err := fr.Next(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(500, func() { _, _, _ = fr.Next() }); n != 0 {
		t.Errorf("FileReader: %v allocations per record", n)
	}
	sr := NewReader(in, "s", 0)
	if _, _, err := sr.Next(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(500, func() { _, _, _ = sr.Next() }); n != 0 {
		t.Errorf("Reader: %v allocations per record", n)
	}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(500, func() { buf = Append(buf[:0], Text, "some line") }); n != 0 {
		t.Errorf("Append: %v allocations per record", n)
	}
}

func FuzzReaders(f *testing.F) {
	var file []byte
	for _, r := range maildropFile {
		file = Append(file, r.typ, r.data)
	}
	f.Add(file)
	f.Add([]byte("p\x0f              0N\x01a"))
	f.Add([]byte("T\x81\x80\x80\x80\x08"))
	f.Fuzz(func(t *testing.T, in []byte) {
		sr := NewReader(bytes.NewReader(in), "s", 0)
		raw := NewFileReader(bytes.NewReader(in), "s")
		raw.Raw = true
		for {
			t1, d1, e1 := sr.Next()
			t2, d2, e2 := raw.Next()
			if t1 != t2 || !bytes.Equal(d1, d2) || fmt.Sprint(e1) != fmt.Sprint(e2) {
				t.Fatalf("readers differ: %c %q %v, %c %q %v", t1, d1, e1, t2, d2, e2)
			}
			if e1 != nil {
				break
			}
			if _, _, err := SplitAttr(d1); err == nil && t1 == Attr && len(d1) < 3 && !bytes.Contains(d1, []byte("=")) {
				t.Fatalf("attribute without separator accepted: %q", d1)
			}
		}
		fr := NewFileReader(bytes.NewReader(in), "s")
		for range 10000 { // a loop of pointers ends, but not soon
			if _, _, err := fr.Next(); err != nil {
				break
			}
		}
	})
}
