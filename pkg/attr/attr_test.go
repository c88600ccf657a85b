package attr

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func reader(form Form, text string) *Reader {
	return NewReader(bufio.NewReader(strings.NewReader(text)), form, "test socket")
}

func TestRoundTrip(t *testing.T) {
	for _, form := range []Form{Null, Plain, Base64} {
		var buf bytes.Buffer
		w := NewWriter(&buf, form)
		w.Str("request", "rewrite").Int("flags", -1).Long("size", -2).Data("time", []byte{0, 1, 255})
		if err := w.End(); err != nil {
			t.Fatal(err)
		}
		r := reader(form, buf.String())
		s, _ := r.Str("request")
		i, _ := r.Int("flags")
		l, _ := r.Long("size")
		d, _ := r.Data("time")
		if err := r.End(); err != nil || s != "rewrite" || i != -1 || l != -2 || !bytes.Equal(d, []byte{0, 1, 255}) {
			t.Errorf("form %d: got %q %d %d %v, %v", form, s, i, l, d, err)
		}
		if _, err := r.Str("x"); !errors.Is(err, ErrEOF) {
			t.Errorf("form %d: after the last list: %v", form, err)
		}
	}
}

func TestWireBytes(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf, Null)
	w.Int("status", -1).Str("reason", "")
	w.End()
	if got, want := buf.String(), "status\x004294967295\x00reason\x00\x00\x00"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	buf.Reset()
	w = NewWriter(&buf, Plain)
	w.Str("protocol", "anvil_protocol").End()
	if got, want := buf.String(), "protocol=anvil_protocol\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriterRefusesForgery(t *testing.T) {
	for _, c := range []struct {
		form  Form
		value string
	}{{Null, "a\x00b"}, {Plain, "a\nb"}, {Plain, "a\x00b"}} {
		var buf bytes.Buffer
		if err := NewWriter(&buf, c.form).Str("name", c.value).End(); err == nil || buf.Len() > 0 {
			t.Errorf("value %q in form %d was sent as %q", c.value, c.form, buf.String())
		}
	}
}

func TestReaderErrors(t *testing.T) {
	for _, c := range []struct{ name, input, want string }{
		{"unexpected", "sendopts\x000\x00\x00", "unexpected attribute sendopts from test socket (expecting: smtputf8)"},
		{"missing", "\x00", "missing attribute smtputf8 in input from test socket"},
		{"bad number", "smtputf8\x00zz\x00\x00", "malformed numerical data from test socket while reading input attribute value: zz"},
		{"cut in name", "smtp", "premature end-of-input on test socket while reading input attribute name"},
		{"cut in value", "smtputf8\x0012", "premature end-of-input on test socket while reading input attribute value"},
	} {
		r := reader(Null, c.input)
		if _, err := r.Int("smtputf8"); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
	r := reader(Null, "a\x001\x00b\x002\x00\x00c\x003\x00\x00")
	if v, err := r.Int("a"); v != 1 || err != nil {
		t.Fatal(v, err)
	}
	if err := r.End(); err == nil || err.Error() != "unexpected attribute b from test socket (expecting: (list terminator))" {
		t.Errorf("extra attribute: %v", err)
	}
	r = reader(Null, "skip\x00x\x00a\x001\x00b\x002\x00\x00")
	r.Lenient = true
	if v, err := r.Int("a"); v != 1 || err != nil {
		t.Errorf("lenient: %d, %v", v, err)
	}
	if err := r.End(); err != nil {
		t.Errorf("lenient end: %v", err)
	}
}

func TestIntOf(t *testing.T) {
	for _, name := range []string{"sendopts", "smtputf8"} {
		r := reader(Null, name+"\x0033\x00\x00")
		if v, err := r.IntOf("sendopts", "smtputf8"); v != 33 || err != nil {
			t.Errorf("%s: %d, %v", name, v, err)
		}
	}
	if _, err := reader(Null, "other\x0033\x00\x00").IntOf("sendopts", "smtputf8"); err == nil {
		t.Error("other name accepted")
	}
}

func TestHash(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf, Null)
	w.Hash("a", "1", "b", "2").Str("after", "x").End()
	r := reader(Null, buf.String())
	hash, err := r.Hash()
	if err != nil || hash["a"] != "1" || hash["b"] != "2" || len(hash) != 2 {
		t.Fatalf("got %v, %v", hash, err)
	}
	if after, err := r.Str("after"); after != "x" || err != nil {
		t.Errorf("after the hash: %q, %v", after, err)
	}
	if hash, err := reader(Null, "a\x001\x00\x00").Hash(); err != nil || hash["a"] != "1" {
		t.Errorf("without braces: %v, %v", hash, err)
	}
	var many strings.Builder
	for i := range 1100 {
		many.WriteString("n" + string(rune('a'+i%26)) + strings.Repeat("x", i) + "\x00v\x00")
	}
	if _, err := reader(Null, many.String()+"\x00").Hash(); err == nil {
		t.Error("1100 entries accepted")
	}
}

func TestValueLimit(t *testing.T) {
	r := reader(Null, "name\x00"+strings.Repeat("x", 100000)+"\x00\x00")
	r.MaxValue = 10000
	if _, err := r.Str("name"); err == nil {
		t.Error("value beyond the limit accepted")
	}
	r = reader(Null, strings.Repeat("n", 10000))
	if _, err := r.Str("name"); err == nil {
		t.Error("endless name accepted")
	}
}

func TestConnTimeout(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := NewConn(a, Null, "private/x socket", time.Millisecond)
	_, err := c.R.Str("request")
	if err == nil || err.Error() != "timeout on private/x socket while reading input attribute name" {
		t.Errorf("got %v", err)
	}
}

func TestPassFile(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/s", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: dir + "/s", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	f, err := os.CreateTemp(dir, "f")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("passed")
	if err := SendFile(client, f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got, err := ReceiveFile(server)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	got.Seek(0, io.SeekStart)
	if text, err := io.ReadAll(got); string(text) != "passed" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	client.Write([]byte{0})
	if _, err := ReceiveFile(server); err == nil {
		t.Error("a message without descriptor was accepted")
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("request\x00rewrite\x00rule\x00local\x00\x00"), 0)
	f.Add([]byte("{\x00a\x00b\x00}\x00\x00"), 0)
	f.Add([]byte("request=connect\nident=x\n\n"), 1)
	f.Add([]byte("cmVx:dQ==\n\n"), 2)
	f.Fuzz(func(t *testing.T, input []byte, form int) {
		for _, lenient := range []bool{false, true} {
			r := NewReader(bufio.NewReader(bytes.NewReader(input)), Form(((form%3)+3)%3), "fuzz socket")
			r.Lenient, r.MaxValue = lenient, 1<<12
			r.Hash()
			r.End()
			r.Int("request")
			r.Data("rule")
			r.End()
			for {
				_, _, ok, err := r.Next()
				if err != nil || !ok {
					break
				}
			}
		}
	})
}

// A peer cannot keep a lenient reader busy for ever.
func TestEndlessList(t *testing.T) {
	for name, read := range map[string]func(r *Reader) error{
		"asked": func(r *Reader) error { _, err := r.Str("action"); return err },
		"end":   func(r *Reader) error { return r.End() },
	} {
		r := NewReader(bufio.NewReader(strings.NewReader(strings.Repeat("x=y\n", 2000))), Plain, "policy")
		r.Lenient = true
		if err := read(r); err == nil || err.Error() != "attribute count exceeds limit 1024 in input from policy" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
