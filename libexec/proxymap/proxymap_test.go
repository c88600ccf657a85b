package proxymap

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	client "suffix/pkg/proxymapclient"
	"suffix/pkg/table"
)

// start serves a proxymap or proxywrite service on its socket in a queue
// directory of its own, and returns the configuration of its clients.
func start(t *testing.T, write bool, settings ...config.Setting) *config.Main {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/private", 0o755); err != nil {
		t.Fatal(err)
	}
	// Each queue directory has its own connections: the service name is part
	// of their identity.
	name := strings.ReplaceAll(filepath.Base(filepath.Dir(dir)), "/", "")
	settings = append(settings, config.Setting{Name: "queue_directory", Value: dir},
		config.Setting{Name: "proxymap_service_name", Value: name}, config.Setting{Name: "proxywrite_service_name", Value: name})
	cfg := config.New(dir, settings, config.Options{})
	s := &server{cfg: cfg, write: write, access: "read-only", param: "proxy_read_maps", tables: make(map[string]*table.Handle)}
	if write {
		s.access, s.param = "read-write", "proxy_write_maps"
	}
	value, _ := cfg.Lookup(s.param)
	s.approved = approve(s.param, value, nil, false)
	l, err := net.Listen("unix", dir+"/private/"+name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s.serve(ctx, attr.NewConn(c, attr.Null, "proxymap socket", time.Minute))
			}()
		}
	}()
	return cfg
}

// raw sends bytes to the service and returns what it says to them.
func raw(t *testing.T, cfg *config.Main, request, wantReply string) {
	t.Helper()
	dir, _ := cfg.Lookup("queue_directory")
	name, _ := cfg.Lookup("proxymap_service_name")
	c, err := net.Dial("unix", dir+"/private/"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	want := "protocol\x00proxymap_protocol\x00\x00" + wantReply
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("request %q: reply %q, %v; want %q", request, got[:n], err, want)
	}
}

func zeros(s string) string { return strings.ReplaceAll(s, "|", "\x00") }

func TestBothDialectsOnTheWire(t *testing.T) {
	cfg := start(t, false, config.Setting{Name: "proxy_read_maps", Value: "proxy:inline:{a=b} proxy:fail:x proxy:pcre:{{/x/ y}}"})
	for request, want := range map[string]string{
		// 3.7
		"request|open|table|inline:{a=b}|flags|0||":                 "status|0|flags|16||",
		"request|lookup|table|inline:{a=b}|flags|524369|key|a||":    "status|0|value|b||",
		"request|lookup|table|inline:{a=b}|flags|524369|key|none||": "status|1|value|||",
		"request|lookup|table|fail:x|flags|0|key|none||":            "status|2|value|||",
		"request|open|table|inline:{c=d}|flags|0||":                 "status|4|flags|0||",
		"request|sequence|table|inline:{a=b}|flags|0|function|0||":  "status|0|key|a|value|b||",
		"request|sequence|table|inline:{a=b}|flags|0|function|7||":  "status|3|key||value|||",
		"request|update|table|inline:{a=b}|flags|0|key|x|value|y||": "status|4||",
		// 3.11
		"request|open|table|proxy:inline:{a=b}|instance_flags|540736||":             "status|0|flags|540752||",
		"request|open|table|pcre:{{/x/ y}}|instance_flags|64||":                     "status|0|flags|96||",
		"request|lookup|table|inline:{a=b}|instance_flags|540736|flags|64|key|A||":  "status|0|flags|540752|value|b||",
		"request|lookup|table|inline:{c=d}|instance_flags|540736|flags|64|key|A||":  "status|4|flags|0|value|||",
		"request|sequence|table|inline:{a=b}|instance_flags|0|flags|0|function|1||": "status|0|flags|16|key|a|value|b||",
		"request|delete|table|inline:{a=b}|instance_flags|0|flags|0|key|a||":        "status|4|flags|0||",
		// our own
		"request|lookup|table|fail:x|flags|0|key|x||request|reason||": "status|2|value|||status|0|reason||whole|0||",
		// neither
		"request|nonsense|x|y||":                        "status|3||",
		"request|lookup|table|inline:{a=b}|flags|0||":   "status|3|value|||",
		"request|open|table|inline:{a=b}|instance||":    "status|3|flags|0||",
		"request|open|table|inline:{a=b}|flags|0|x|y||": "status|3|flags|0||",
	} {
		raw(t, cfg, zeros(request), zeros(want))
	}
}

func TestClient(t *testing.T) {
	for _, dialect := range []string{"3.7", "3.11"} {
		source := filepath.Join(t.TempDir(), "source")
		if err := os.WriteFile(source, []byte("Key value\nother v2\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(source, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
		spec := "texthash:" + source
		cfg := start(t, false, config.Setting{Name: "proxy_read_maps", Value: "hash:/no, proxy:" + spec},
			config.Setting{Name: "suffix_dialect", Value: dialect})
		o := table.Options{Config: cfg, Command: true, Flags: table.Reader}
		h := table.Open("proxy:"+spec, o)
		if h.Err() != nil {
			t.Fatal(h.Err())
		}
		if !h.Fixed() || h.Name() != "proxy:"+spec {
			t.Errorf("fixed %v, name %s", h.Fixed(), h.Name())
		}
		// The server of 3.7 loads the file without folding its keys.
		if v, found, err := h.Lookup("KEY"); found != (dialect != "3.7") || err != nil {
			t.Errorf("%s: lookup %q %v %v", dialect, v, found, err)
		}
		if v, found, err := h.Lookup("OTHER"); v != "v2" || !found || err != nil {
			t.Errorf("%s: lookup %q %v %v", dialect, v, found, err)
		}
		if _, found, err := h.Lookup("none"); found || err != nil {
			t.Errorf("%s: missing key: %v %v", dialect, found, err)
		}
		c, err := h.Cursor()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			_, _, ok, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			n++
		}
		if n != 2 {
			t.Errorf("%s: %d entries", dialect, n)
		}
		name, _ := cfg.Lookup("proxymap_service_name")
		if bad := table.Open("proxy:static:x", o); bad.Err() == nil ||
			bad.Err().Error() != name+" service is not configured for table \"static:x\"" {
			t.Errorf("unapproved table: %v", bad.Err())
		}
	}
}

func TestWrite(t *testing.T) {
	spec := "btree:" + filepath.Join(t.TempDir(), "cache")
	cfg := start(t, true, config.Setting{Name: "proxy_write_maps", Value: "proxy:" + spec})
	o := table.Options{Config: cfg, Command: true, Flags: table.Reader, Mode: table.ReadWrite}
	h := table.Open("proxy:"+spec, o)
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	for _, value := range []string{"1", "2"} {
		if err := h.Update("Key", value); err != nil {
			t.Fatal(err)
		}
	}
	direct := table.Open(spec, table.Options{Flags: table.Lock, Command: true})
	if direct.Err() != nil {
		t.Fatal(direct.Err())
	}
	if v, found, err := direct.Lookup("key"); v != "2" || !found || err != nil {
		t.Errorf("in the file: %q %v %v", v, found, err)
	}
	if found, err := h.Delete("KEY"); !found || err != nil {
		t.Errorf("delete: %v %v", found, err)
	}
	if found, err := h.Delete("KEY"); found || err != nil {
		t.Errorf("second delete: %v %v", found, err)
	}
}

func TestApprove(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("# c\nproxy:hash:/in-file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := approve("proxy_read_maps", "hash:/a, proxy:hash:/b !proxy:hash:/neg {proxy:hash:/c, search_order = x} proxy:unionmap:{hash:/d,proxy:proxy:hash:/e} "+
		"pipemap:{proxy:hash:/f, pipemap:{proxy:hash:/g}} { broken "+list, []string{"check_client_access proxy:hash:/class"}, false)
	for _, want := range []string{"hash:/b", "hash:/neg", "hash:/c", "unionmap:{hash:/d,proxy:proxy:hash:/e}", "hash:/e", "hash:/f", "hash:/g", "hash:/class"} {
		if !got[want] {
			t.Errorf("%s is not approved", want)
		}
		delete(got, want)
	}
	if len(got) > 0 {
		t.Errorf("approved, too: %v", got)
	}
	if got := approve("p", list, nil, false); !got["hash:/in-file"] {
		t.Error("tables in a file are not approved")
	}
}

// Two clients with different flags do not share a table.
func TestFlagsDoNotLeak(t *testing.T) {
	spec := "pcre:{{/(x)/ got $1}}"
	cfg := start(t, false, config.Setting{Name: "proxy_read_maps", Value: "proxy:" + strings.ReplaceAll(spec, "$", "$$")})
	strict := table.Open("proxy:"+spec, table.Options{Config: cfg, Command: true, Flags: table.NoRegSub})
	loose := table.Open("proxy:"+spec, table.Options{Config: cfg, Command: true})
	if strict.Err() != nil || loose.Err() != nil {
		t.Fatal(strict.Err(), loose.Err())
	}
	if v, found, err := strict.Lookup("x"); found || err != nil {
		t.Errorf("with no_regsub: %q %v %v", v, found, err)
	}
	if v, found, err := loose.Lookup("x"); v != "got x" || !found || err != nil {
		t.Errorf("without: %q %v %v", v, found, err)
	}
}

// status values are those of the protocol.
func TestStatus(t *testing.T) {
	for want, got := range map[int]client.Status{0: client.OK, 1: client.NotFound, 2: client.Retry, 3: client.Bad, 4: client.Denied, 5: client.Config} {
		if int(got) != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	s := &session{}
	if got := s.outcome(false, &table.Error{Config: true}); got != client.Config {
		t.Errorf("configuration error: %d", got)
	}
}
