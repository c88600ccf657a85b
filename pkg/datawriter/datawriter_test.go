package datawriter

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// write sends records: a piece that ends in "$" ends the line, another does
// not.
func write(t testing.TB, setup func(*Writer), pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := New(&out)
	defer w.Release()
	if setup != nil {
		setup(w)
	}
	for _, p := range pieces {
		line, whole := strings.CutSuffix(p, "$")
		if err := w.Text([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if whole {
			if err := w.EndLine(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.End(""); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLines(t *testing.T) {
	limit := func(n int) func(*Writer) { return func(w *Writer) { w.LineLimit = n } }
	stuffed := func(w *Writer) { w.Stuffed = true }
	tests := []struct {
		name   string
		setup  func(*Writer)
		pieces []string
		want   string
	}{
		{"empty", nil, nil, ".\r\n"},
		{"line", nil, []string{"hello$"}, "hello\r\n.\r\n"},
		{"no final newline", nil, []string{"hello"}, "hello\r\n.\r\n"},
		{"empty line", nil, []string{"$", "x$"}, "\r\nx\r\n.\r\n"},
		{"dot", nil, []string{".$", "..$", ".a$"}, "..\r\n...\r\n..a\r\n.\r\n"},
		{"dot in a later piece", nil, []string{"a", ".", "$"}, "a.\r\n.\r\n"},
		{"dot after an empty piece", nil, []string{"", ".$"}, "..\r\n.\r\n"},
		{"stray CR", nil, []string{"\r.\r$"}, " . \r\n.\r\n"},
		{"row 7", nil, []string{"body$", "\r$", "MAIL$"}, "body\r\n \r\nMAIL\r\n.\r\n"},
		{"stray LF", nil, []string{"a\n.\nb$"}, "a . b\r\n.\r\n"},
		{"dot CR", nil, []string{".\r$"}, ".. \r\n.\r\n"},
		{"NUL", nil, []string{"\x00.$"}, "\x00.\r\n.\r\n"},
		{"exact limit", limit(5), []string{"12345$"}, "12345\r\n.\r\n"},
		{"over limit", limit(5), []string{"123456789ab$"}, "12345\r\n 6789\r\n ab\r\n.\r\n"},
		{"over limit in pieces", limit(5), []string{"1234", "5", "6", "$"}, "12345\r\n 6\r\n.\r\n"},
		{"dot after break", limit(5), []string{"12345.$"}, "12345\r\n .\r\n.\r\n"},
		{"dot does not count", limit(3), []string{".12$"}, "..12\r\n.\r\n"},
		{"smallest limit", limit(1), []string{"1234$"}, "12\r\n 3\r\n 4\r\n.\r\n"},
		{"stuffed", stuffed, []string{"..$", "..a$"}, "..\r\n..a\r\n.\r\n"},
		{"repaired", stuffed, []string{".$", ".a$", ".\r$"}, "..\r\n..a\r\n.. \r\n.\r\n"},
		{"stuffed in pieces", stuffed, []string{".", ".$", ".", "x$"}, "..\r\n..x\r\n.\r\n"},
	}
	for _, test := range tests {
		if got := write(t, test.setup, test.pieces...); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	w := New(&out)
	defer w.Release()
	w.LineLimit = 998
	if err := w.Line(bytes.Repeat([]byte("x"), 998)); err != nil || w.Broken || w.Replaced {
		t.Errorf("998 bytes: err %v, broken %v, replaced %v", err, w.Broken, w.Replaced)
	}
	if err := w.Line(bytes.Repeat([]byte("x"), 999)); err != nil || !w.Broken {
		t.Errorf("999 bytes: err %v, broken %v", err, w.Broken)
	}
	if err := w.Line([]byte("a\rb")); err != nil || !w.Replaced {
		t.Errorf("stray CR: err %v, replaced %v", err, w.Replaced)
	}
}

func TestLargeContent(t *testing.T) {
	var out bytes.Buffer
	w := New(&out)
	defer w.Release()
	line := bytes.Repeat([]byte("y"), 1000)
	for range 1000 {
		if err := w.Line(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Line(bytes.Repeat([]byte("z"), 3*bufferSize)); err != nil {
		t.Fatal(err)
	}
	if err := w.End("QUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat(string(line)+"\r\n", 1000) + strings.Repeat("z", 3*bufferSize) + "\r\n.\r\nQUIT\r\n"
	if out.String() != want {
		t.Errorf("got %d bytes, want %d", out.Len(), len(want))
	}
	if w.Sent() != int64(len(want)) {
		t.Errorf("Sent() = %d, want %d", w.Sent(), len(want))
	}
}

type failing struct{}

var errLost = errors.New("lost")

func (failing) Write([]byte) (int, error) { return 0, errLost }

func TestErrorSticks(t *testing.T) {
	w := New(failing{})
	defer w.Release()
	if err := w.Text(bytes.Repeat([]byte("x"), 2*bufferSize)); !errors.Is(err, errLost) {
		t.Errorf("Text: %v", err)
	}
	if err := w.End(""); !errors.Is(err, errLost) {
		t.Errorf("End: %v", err)
	}
}

// FuzzWriter proves the rule of hardening §2.3 for any content cut in any way.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("a\n.\nb"), uint16(3), uint16(7), false)
	f.Add([]byte("\r.\r\n.\r\r\n..x"), uint16(1), uint16(0), true)
	f.Fuzz(func(t *testing.T, data []byte, cut, limit uint16, stuffed bool) {
		var out bytes.Buffer
		w := New(&out)
		defer w.Release()
		w.LineLimit, w.Stuffed = int(limit), stuffed
		step := int(cut%50) + 1
		for i := 0; i < len(data); i += step {
			piece := data[i:min(i+step, len(data))]
			if err := w.Text(piece); err != nil {
				t.Fatal(err)
			}
			if piece[0]%3 == 0 {
				if err := w.EndLine(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.End(""); err != nil {
			t.Fatal(err)
		}
		body, ok := strings.CutSuffix(out.String(), ".\r\n")
		if !ok {
			t.Fatalf("no final dot in %q", out.String())
		}
		if body == "" {
			return
		}
		body, ok = strings.CutSuffix(body, "\r\n")
		if !ok {
			t.Fatalf("final dot does not start a line in %q", out.String())
		}
		for _, line := range strings.Split(body, "\r\n") {
			if strings.ContainsAny(line, "\r\n") {
				t.Fatalf("stray CR or LF in %q", line)
			}
			if strings.HasPrefix(line, ".") && !strings.HasPrefix(line, "..") {
				t.Fatalf("single dot at the start of %q", line)
			}
			if limit > 1 && len(line) > int(limit)+1 {
				t.Fatalf("line of %d bytes, limit %d", len(line), limit)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	w := New(discard{})
	defer w.Release()
	w.LineLimit = 998
	line := bytes.Repeat([]byte("y"), 76)
	b.SetBytes(76)
	for b.Loop() {
		if err := w.Line(line); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
