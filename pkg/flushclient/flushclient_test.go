package flushclient

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"suffix/pkg/config"
	"suffix/pkg/table/tabletest"
)

// serve answers one client after the other and passes on what each sends.
func serve(t *testing.T, answers ...string) <-chan string {
	t.Helper()
	l, err := net.Listen("unix", "public/flush")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests := make(chan string, len(answers))
	go func() {
		for _, answer := range answers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "protocol\x00queue_flush_protocol\x00\x00")
			request, buf := "", make([]byte, 1000)
			for !strings.HasSuffix(request, "\x00\x00") {
				n, err := c.Read(buf)
				if err != nil {
					break
				}
				request += string(buf[:n])
			}
			_, _ = io.WriteString(c, answer)
			c.Close()
			requests <- request
		}
	}()
	return requests
}

func client(t *testing.T) *Client {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.Mkdir("public", 0700); err != nil {
		t.Fatal(err)
	}
	return New(config.New(t.TempDir(), []config.Setting{{Name: "relay_domains", Value: "defer.test"}, {Name: "compatibility_level", Value: "3.6"}}, config.Options{Warn: func(string) {}}))
}

func TestRequests(t *testing.T) {
	c := client(t)
	for _, r := range []struct {
		answer  string
		call    func() Status
		request string
		want    Status
	}{
		{"status\x000\x00\x00", func() Status { return c.Add("sub.Defer.test", "A1") }, "request|add|site|sub.Defer.test|queue_id|A1||", OK},
		{"status\x003\x00\x00", func() Status { return c.Add("defer.test", "A.1") }, "request|add|site|defer.test|queue_id|A.1||", Bad},
		{"status\x000\x00\x00", func() Status { return c.SendSite("defer.test") }, "request|send_site|site|defer.test||", OK},
		{"status\x000\x00\x00", func() Status { return c.SendFile("A1") }, "request|send_file|queue_id|A1||", OK},
		{"status\x000\x00\x00", c.Refresh, "request|rfrsh||", OK},
		{"status\x000\x00\x00", c.Purge, "request|purge||", OK},
		{"status\x004294967295\x00\x00", c.Purge, "request|purge||", Fail},
		{"", c.Purge, "request|purge||", Fail},
		{"other\x000\x00\x00", c.Purge, "request|purge||", Fail},
	} {
		requests := serve(t, r.answer)
		if got := r.call(); got != r.want {
			t.Errorf("%s: got %d, want %d", r.request, got, r.want)
		}
		if got := strings.ReplaceAll(<-requests, "\x00", "|"); got != r.request {
			t.Errorf("sent %q, want %q", got, r.request)
		}
		if err := os.Remove("public/flush"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoService(t *testing.T) {
	c := client(t)
	if got := c.Add("other.test", "A1"); got != Denied {
		t.Errorf("other destination: got %d", got)
	}
	if got := c.SendSite("other.test"); got != Denied {
		t.Errorf("other destination: got %d", got)
	}
	if got := c.SendSite("defer.test"); got != Fail {
		t.Errorf("no server: got %d", got)
	}
}

// That a destination counts only because of the old default of relay_domains
// is remarked on.
func TestOldDefault(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		settings string
		want     string
	}{
		{"compatibility_level=1", "using backwards-compatible default setting relay_domains=$mydestination to update fast-flush logfile for domain \"sub.here.test\"" +
			"\nusing backwards-compatible default setting relay_domains=$mydestination to flush mail for domain \"here.test\""},
		{"compatibility_level=1,relay_domains=here.test", ""},
		{"compatibility_level=1,fast_flush_domains=here.test", ""},
		{"compatibility_level=2,fast_flush_domains=here.test", ""},
	} {
		settings := []config.Setting{{Name: "mydestination", Value: "here.test"}}
		for s := range strings.SplitSeq(c.settings, ",") {
			name, value, _ := strings.Cut(s, "=")
			settings = append(settings, config.Setting{Name: name, Value: value})
		}
		lines := tabletest.Logged(t, func() {
			client := New(config.New("/d", settings, config.Options{}))
			client.Add("sub.here.test", "A1")
			client.Add("other.test", "A1")
			client.SendSite("here.test")
		})
		var got []string
		for _, line := range lines {
			if strings.HasPrefix(line, "using ") {
				got = append(got, line)
			}
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: %q; want %q", c.settings, got, c.want)
		}
	}
}
