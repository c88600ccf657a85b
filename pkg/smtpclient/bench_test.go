package smtpclient

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"

	"suffix/pkg/deliver"
)

// quickServer answers a pipelining client with as few system calls as it can.
func quickServer(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReaderSize(c, 64<<10)
				out := bufio.NewWriterSize(c, 4096)
				say := func(s string) { _, _ = out.WriteString(s) }
				say("220 x ESMTP\r\n")
				data := false
				for {
					if in.Buffered() == 0 && out.Flush() != nil {
						return
					}
					line, err := in.ReadSlice('\n')
					if err != nil {
						return
					}
					switch {
					case data:
						if string(line) == ".\r\n" {
							data = false
							say("250 2.0.0 Ok\r\n")
						}
					case strings.HasPrefix(string(line), "EHLO"):
						say("250-x\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250 DSN\r\n")
					case string(line) == "DATA\r\n":
						data = true
						say("354 go\r\n")
					default:
						say("250 2.1.0 Ok\r\n")
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func benchmarkDelivery(b *testing.B, flags int) {
	addr := quickServer(b)
	_, port, _ := net.SplitHostPort(addr)
	c := testConfig()
	c.Log = silent{&testLog{}}
	e := New(c)
	defer e.Close()
	req := request(b, "[127.0.0.1]:"+port, "Subject: x\n\n"+strings.Repeat(strings.Repeat("x", 70)+"\n", 57))
	req.Flags |= flags
	b.ReportAllocs()
	for b.Loop() {
		r := *req
		rec := &testRecorder{req: &r}
		e.deliver(context.Background(), &r, rec)
		if !strings.Contains(rec.results[0], " sent ") {
			b.Fatal(rec.results)
		}
	}
}

type silent struct{ *testLog }

func (silent) Infof(string, ...any) {}

// BenchmarkNewConnection and BenchmarkCached deliver a message of 4 kB.
func BenchmarkNewConnection(b *testing.B) { benchmarkDelivery(b, 0) }

func BenchmarkCached(b *testing.B) {
	benchmarkDelivery(b, deliver.FlagConnLoad|deliver.FlagConnStore)
}
