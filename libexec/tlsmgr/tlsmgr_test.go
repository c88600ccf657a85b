package tlsmgr

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/cache"
	"suffix/pkg/config"
)

// ask sends one raw request to a manager and returns the raw reply; empty when
// the connection was closed without one.
func ask(t *testing.T, m *manager, request string) string {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		m.serve(attr.NewConn(b, attr.Null, "tlsmgr socket", time.Minute))
		b.Close()
	}()
	const greeting = "protocol\x00tlsmgr_protocol\x00\x00"
	got := make([]byte, len(greeting))
	if _, err := io.ReadFull(a, got); err != nil || string(got) != greeting {
		t.Fatalf("greeting %q, %v", got, err)
	}
	if _, err := a.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 4096)
	n, err := a.Read(reply)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(reply[:n])
}

func list(items ...string) string { return strings.Join(items, "\x00") + "\x00\x00" }

func newTestManager(t *testing.T, settings ...config.Setting) *manager {
	t.Helper()
	m, err := newManager(config.New(".", settings, config.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReplies(t *testing.T) {
	off := newTestManager(t)
	on := newTestManager(t, config.Setting{Name: "smtp_tls_session_cache_database", Value: "internal:x"}, config.Setting{Name: "smtp_tls_session_cache_timeout", Value: "10s"})
	session := base64.StdEncoding.EncodeToString([]byte("a session"))
	for _, c := range []struct {
		name          string
		m             *manager
		request, want string
	}{
		{"policy, no cache", off, list("request", "policy", "cache_type", "smtpd"), list("status", "0", "cachable", "0", "timeout", "3600")},
		{"policy, cache", on, list("request", "policy", "cache_type", "smtp"), list("status", "0", "cachable", "1", "timeout", "120")},
		{"policy, bad type", off, list("request", "policy", "cache_type", "zzz"), list("status", "4294967294", "cachable", "0", "timeout", "0")},
		{"seed 0", off, list("request", "seed", "size", "0"), list("status", "4294967294", "seed", "")},
		{"seed 256", off, list("request", "seed", "size", "256"), list("status", "4294967294", "seed", "")},
		{"lookup, cache off", off, list("request", "lookup", "cache_type", "smtpd", "cache_id", "x"), list("status", "4294967294", "session", "")},
		{"lookup, unknown", on, list("request", "lookup", "cache_type", "smtp", "cache_id", "x"), list("status", "4294967295", "session", "")},
		{"update", on, list("request", "update", "cache_type", "smtp", "cache_id", "x", "session", session), list("status", "0")},
		{"lookup, known", on, list("request", "lookup", "cache_type", "smtp", "cache_id", "x"), list("status", "0", "session", session)},
		{"delete", on, list("request", "delete", "cache_type", "smtp", "cache_id", "x"), list("status", "0")},
		{"lookup, deleted", on, list("request", "lookup", "cache_type", "smtp", "cache_id", "x"), list("status", "4294967295", "session", "")},
		{"ticket key, bad name", off, list("request", "tktkey", "keyname", "YWJj"), list("status", "4294967294", "keybuf", "")},
		{"ticket key, unknown name", off, list("request", "tktkey", "keyname", "MDEyMzQ1Njc4OWFiY2RlZg=="), list("status", "4294967295", "keybuf", "MDEyMzQ1Njc4OWFiY2RlZg==")},
		{"not a request", off, list("nonsense", "1"), list("status", "4294967294")},
		{"unknown request", off, list("request", "nonsense"), ""},
		{"wakeup", off, "W\x00", ""},
	} {
		if got := ask(t, c.m, c.request); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSeed(t *testing.T) {
	m := newTestManager(t)
	seen := make(map[string]bool)
	for range 3 {
		reply := ask(t, m, list("request", "seed", "size", "32"))
		fields := strings.Split(reply, "\x00")
		b, err := base64.StdEncoding.DecodeString(fields[3])
		if err != nil || len(b) != 32 || fields[1] != "0" || seen[reply] || bytes.Equal(b, make([]byte, 32)) {
			t.Errorf("reply %q, %v", reply, err)
		}
		seen[reply] = true
	}
}

func TestTicketKeys(t *testing.T) {
	m := newTestManager(t)
	reply := ask(t, m, list("request", "tktkey", "keyname", ""))
	if len(reply) != 138+0 || !strings.HasPrefix(reply, "status\x000\x00keybuf\x00") {
		t.Fatalf("%d bytes: %q", len(reply), reply)
	}
	now := time.Now()
	keys := newTicketKeys(time.Hour)
	first, err := keys.find(nil, now)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := keys.find(nil, now.Add(time.Minute)); again != first {
		t.Error("a new key although the first is fresh")
	}
	second, _ := keys.find(nil, now.Add(31*time.Minute))
	if second == first {
		t.Error("the old key is still used for encryption")
	}
	if k, _ := keys.find(first.name[:], now.Add(59*time.Minute)); k != first {
		t.Error("the old key cannot be used for decryption")
	}
	if k, _ := keys.find(first.name[:], now.Add(61*time.Minute)); k != nil {
		t.Error("a key was given out after its life")
	}
}

func TestSameDatabaseTwice(t *testing.T) {
	_, err := newManager(config.New(".", []config.Setting{
		{Name: "smtp_tls_session_cache_database", Value: "internal:x"}, {Name: "smtpd_tls_session_cache_database", Value: "internal:x"},
	}, config.Options{}))
	if err == nil || err.Error() != "do not use the same TLS cache file internal:x for smtpd and smtp" {
		t.Errorf("got %v", err)
	}
}

func TestExchangeFile(t *testing.T) {
	path := t.TempDir() + "/prng_exch"
	x, err := openExchange(path)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil || len(first) != exchangeSize {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	x.update()
	second, err := os.ReadFile(path)
	if err != nil || len(second) != exchangeSize || bytes.Equal(first, second) {
		t.Errorf("%d bytes, %v", len(second), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// What the network fills a cache with has an end.
func TestCacheIsBounded(t *testing.T) {
	now := time.Now()
	c := newSessionCache("smtpd", cache.NewMemory(""), time.Hour)
	c.now = func() time.Time { return now }
	c.total = maxTotal - 100
	c.update("small", []byte("x"))
	c.update("large", make([]byte, 1000))
	if _, ok := c.lookup("small"); !ok {
		t.Error("not stored, although there was room")
	}
	if _, ok := c.lookup("large"); ok {
		t.Error("stored, although there was no room")
	}
	c.sweep(context.Background())
	c.update("large", make([]byte, 1000))
	if _, ok := c.lookup("large"); !ok {
		t.Error("not stored, although there is room again")
	}
	c.update(strings.Repeat("x", maxIDSize+1), nil)
	if _, ok := c.lookup(strings.Repeat("x", maxIDSize+1)); ok {
		t.Error("an endless name was stored")
	}
	c.update("y", make([]byte, maxSessionSize+1))
	if _, ok := c.lookup("y"); ok {
		t.Error("an endless session was stored")
	}
}

func TestLifeOfASession(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := newSessionCache("smtp", cache.NewMemory(""), 2*time.Minute)
	c.now = func() time.Time { return now }
	c.update("id", []byte("\xffsession"))
	if value, _, _ := c.store.Lookup("id"); binary.NativeEndian.Uint16([]byte{1, 0}) == 1 && value != "00D2496B00000000FF73657373696F6E" {
		t.Errorf("stored as %s", value)
	}
	now = now.Add(2 * time.Minute)
	if s, ok := c.lookup("id"); string(s) != "\xffsession" || !ok {
		t.Errorf("%q %v", s, ok)
	}
	now = now.Add(time.Second)
	if _, ok := c.lookup("id"); ok {
		t.Error("expired session found")
	}
	if _, found, _ := c.store.Lookup("id"); found {
		t.Error("expired session kept")
	}
	for _, bad := range []string{"", "00D2496B00000000", "00:D2:49:6B:00:00:00:00:FF", "zz", "0"} {
		c.store.Update("bad", bad)
		if _, ok := c.lookup("bad"); ok {
			t.Errorf("%q is a session", bad)
		}
		if _, found, _ := c.store.Lookup("bad"); found {
			t.Errorf("%q kept", bad)
		}
	}
	c.update("old", []byte("x"))
	now = now.Add(time.Hour)
	c.update("new", []byte("x"))
	c.sweep(context.Background())
	if _, found, _ := c.store.Lookup("old"); found {
		t.Error("old session not swept out")
	}
	if _, found, _ := c.store.Lookup("new"); !found {
		t.Error("new session swept out")
	}
}
