package smtpserver

import (
	"runtime"
	"testing"
)

// A session that waits must cost little: a server holds thousands of them.
func TestIdleCost(t *testing.T) {
	ts := newTestServer(t)
	measure := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := measure()
	const sessions = 200
	clients := make([]*client, sessions)
	for i := range clients {
		clients[i] = ts.connect()
		clients[i].do("EHLO x", "250", "MAIL FROM:<a@b>", "250")
	}
	// The client side of the test is included: its reader has 4 KB.
	if cost := (measure() - before) / sessions; cost > 40_000 {
		t.Errorf("an idle session costs %d bytes", cost)
	} else {
		t.Logf("%d bytes a session", cost)
	}
	for _, c := range clients {
		c.do("QUIT", "221")
	}
}

// The content of a message must not cost memory line by line.
func TestContentAllocations(t *testing.T) {
	ts := newTestServer(t)
	c := ts.connect()
	c.do("EHLO x", "250")
	message := func(lines int) {
		c.do("MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354")
		for range lines {
			c.send("a line of content\r\n")
		}
		c.do(".", "250")
	}
	r := reader{limit: 2048, conn: c.conn}
	r.buf = []byte("one\r\ntwo\r\nthree\r\n")
	if n := testing.AllocsPerRun(100, func() {
		r.r, r.w = 0, len(r.buf)
		for r.r < r.w {
			if _, _, err := r.piece(); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for three lines", n)
	}
	message(5)
	ts.quit(c)
}
