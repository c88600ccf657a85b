package smtpserver

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// memConn is the client side of a connection whose input is known.
type memConn struct {
	net.Conn
	in    []byte
	piece int // bytes for each read
}

func (c *memConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}
func (c *memConn) SetReadDeadline(time.Time) error { return nil }

func newMemReader(data []byte, piece, limit int, mode newlineMode) *reader {
	return &reader{conn: &memConn{in: data, piece: piece}, limit: limit, mode: mode, timeout: time.Second, beforeIO: func() error { return nil }}
}

func FuzzCommandReader(f *testing.F) {
	f.Add([]byte("NOOP\r\nQUIT\n"), uint8(1))
	f.Add(bytes.Repeat([]byte("x"), 100), uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		const limit = 32
		r := newMemReader(data, int(piece)+1, limit, newlineNormalize)
		for range len(data) + 1 {
			line, _, err := r.command()
			if err != nil && err != errLineTooLong {
				return
			}
			if len(line) > limit || bytes.IndexByte(line, '\n') >= 0 {
				t.Fatalf("line %q", line)
			}
			for _, token := range tokenize(string(line)) {
				if token.text == "" {
					t.Fatalf("empty token in %q", line)
				}
			}
		}
		t.Fatal("no end")
	})
}

// Content must come out the same however it is cut into reads, and nothing of
// it may be lost.
func FuzzContentReader(f *testing.F) {
	for _, row := range smuggling {
		f.Add([]byte(row.bytes), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		const limit = 16
		whole := readPieces(newMemReader(data, 1<<20, limit, newlineNormalize), limit, t)
		parts := readPieces(newMemReader(data, int(piece)+1, limit, newlineNormalize), limit, t)
		if whole != parts {
			t.Fatalf("%q\n%q", whole, parts)
		}
		chunked := readChunks(t, data, int(piece)+1, limit)
		if !strings.HasPrefix(chunked, whole) {
			t.Fatalf("chunks %q\nlines %q", chunked, whole)
		}
	})
}

func readPieces(r *reader, limit int, t *testing.T) string {
	var out strings.Builder
	for {
		piece, end, err := r.piece()
		if err != nil {
			return out.String()
		}
		if len(piece) > limit {
			t.Fatalf("piece of %d bytes", len(piece))
		}
		out.Write(piece)
		out.WriteString([]string{"+", "\n", "\r\n"}[end])
	}
}

func readChunks(t *testing.T, data []byte, size, limit int) string {
	r := newMemReader(bytes.Clone(data), 5, limit, newlineNormalize)
	var out strings.Builder
	put := func(piece []byte, end lineEnd) {
		if len(piece) > limit {
			t.Fatalf("piece of %d bytes", len(piece))
		}
		out.Write(piece)
		out.WriteString([]string{"+", "\n", "\r\n"}[end])
	}
	var carry []byte
	for left := len(data); left > 0; {
		n := min(left, size)
		var err error
		if carry, err = r.chunk(int64(n), carry, put); err != nil {
			t.Fatal(err)
		}
		if len(carry) > limit+1 {
			t.Fatalf("%d bytes carried over", len(carry))
		}
		left -= n
	}
	return out.String() + string(carry)
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"<a@b>", "<@r:a@b>", "<phrase <a@b>>", `<"a b"@c>`, "<a(b)c@d>", "<>", "a@[1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, word string) {
		for _, strict := range []bool{false, true} {
			if addr, ok := parseAddress(word, strict); ok && len(addr) > 2*len(word)+2 {
				t.Fatalf("%q becomes %q", word, addr)
			}
		}
	})
}

func FuzzParameters(f *testing.F) {
	ts := newTestServer(f)
	for _, s := range []string{"SIZE=5", "RET=HDRS", "ENVID=a+20", "BODY=8BITMIME", "AUTH=<>", "NOTIFY=NEVER", "ORCPT=utf-8;a\\x{e9}", "XVERP=+="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		s := newFuzzSession(t, ts)
		if ok, err := s.mailParameter(arg); ok && err == nil && strings.ContainsAny(s.tx.envID, "\r\n\x00") {
			t.Fatalf("ENVID %q", s.tx.envID)
		}
		var p rcptParameters
		if ok, err := s.rcptParameter(&p, arg); ok && err == nil && strings.ContainsAny(p.orcpt, "\r\n\x00") && !strings.ContainsAny(arg, "\r\n\x00") {
			t.Fatalf("ORCPT %q", p.orcpt)
		}
	})
}

func FuzzAttributes(f *testing.F) {
	ts := newTestServer(f, "smtpd_authorized_xclient_hosts = 127.0.0.1", "smtpd_authorized_xforward_hosts = 127.0.0.1")
	for _, s := range []string{"NAME=x.y ADDR=1.2.3.4", "ADDR=IPv6:::1 PORT=5", "HELO=a+20b LOGIN=u", "PROTO=esmtp IDENT=[UNAVAILABLE] SOURCE=LOCAL", "REVERSE_NAME=[TEMPUNAVAIL]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, args string) {
		words := tokenize("X " + args)
		s := newFuzzSession(t, ts)
		s.xclient, s.xforward = true, true
		if _, err := s.xforwardCommand("", words); err != nil {
			t.Fatal(err)
		}
		if fw := s.tx.forward; fw != nil && strings.ContainsAny(fw.name+fw.helo+fw.ident+fw.protocol, " \r\n\x00<>") {
			t.Fatalf("%+v", fw)
		}
		s.tx = transaction{}
		if _, err := s.xclientCommand("", words); err != nil && err != errData {
			t.Fatal(err)
		}
		if strings.ContainsAny(s.access.Helo+s.access.Name, " \r\n\x00") || !utf8.ValidString(s.access.Login) {
			t.Fatalf("%+v", s.access.Client)
		}
	})
}

// newFuzzSession returns a session that talks to nobody.
func newFuzzSession(t *testing.T, ts *testServer) *session {
	s := newSession(t.Context(), ts.server, ts.server.Normal, &memConn{piece: 1})
	s.access.Name, s.access.Address = "unknown", "127.0.0.1"
	return s
}
