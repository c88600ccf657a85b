package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/verifyclient"

	_ "suffix/pkg/table/simple"
)

// clock is the time of a test.
type clock struct{ now time.Time }

func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

// engine returns an Engine in memory; probes are collected.
func engine(t testing.TB, settings ...string) (e *Engine, c *clock, probes *[]string) {
	t.Helper()
	list := []config.Setting{{Name: "myhostname", Value: "mx.test"}, {Name: "address_verify_map", Value: ""}, {Name: "compatibility_level", Value: "3.6"}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		list = append(list, config.Setting{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	e, err := New(config.New(t.TempDir(), list, config.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	c = &clock{time.Unix(1_800_000_000, 0)}
	probes = new([]string)
	e.now = func() time.Time { return c.now }
	e.probe = func(addr string) bool { *probes = append(*probes, addr); return true }
	return e, c, probes
}

func (e *Engine) expect(t *testing.T, addr string, verdict verifyclient.Verdict, text string) {
	t.Helper()
	if v, s := e.Query(addr); v != verdict || s != text {
		t.Errorf("%s: %d %q, want %d %q", addr, v, s, verdict, text)
	}
}

const day = 24 * time.Hour

func TestLifeOfAResult(t *testing.T) {
	e, clock, probes := engine(t)
	probed := func(n int) {
		t.Helper()
		if len(*probes) != n {
			t.Errorf("%d probes, want %d", len(*probes), n)
		}
	}
	e.expect(t, "a@x", verifyclient.InProgress, "Address verification in progress")
	probed(1)
	clock.advance(900 * time.Second)
	e.expect(t, "a@x", verifyclient.InProgress, "Address verification in progress")
	probed(1)
	clock.advance(200 * time.Second)
	e.expect(t, "a@x", verifyclient.InProgress, "Address verification in progress")
	probed(2) // the first one got lost
	e.Update("a@x", verifyclient.Deliverable, "250 ok\x01")
	e.expect(t, "a@x", verifyclient.Deliverable, "250 ok?")
	probed(2)
	e.Update("a@x", verifyclient.Undeliverable, "550 no")
	e.expect(t, "a@x", verifyclient.Deliverable, "250 ok?")
	clock.advance(8 * day)
	e.expect(t, "a@x", verifyclient.Deliverable, "250 ok?") // while it is asked for again
	probed(3)
	clock.advance(32 * day)
	e.expect(t, "a@x", verifyclient.InProgress, "Address verification in progress")
	probed(4)

	e.Update("b@x", verifyclient.Undeliverable, "550 no")
	e.expect(t, "b@x", verifyclient.Undeliverable, "550 no")
	probed(4)
	clock.advance(4 * time.Hour)
	e.expect(t, "b@x", verifyclient.Undeliverable, "550 no")
	probed(5)
	clock.advance(4 * day)
	e.expect(t, "b@x", verifyclient.InProgress, "Address verification in progress")
	probed(6)
}

func TestNoNegativeCache(t *testing.T) {
	e, clock, probes := engine(t, "address_verify_negative_cache = no")
	e.expect(t, "a@x", verifyclient.InProgress, "Address verification in progress")
	e.expect(t, "a@x", verifyclient.InProgress, "Address verification in progress")
	if len(*probes) != 2 {
		t.Errorf("%d probes", len(*probes))
	}
	if _, found, _ := e.cache.Lookup("a@x"); found {
		t.Error("stored")
	}
	e.Update("a@x", verifyclient.Deliverable, "ok")
	clock.advance(40 * day)
	e.expect(t, "a@x", verifyclient.InProgress, "Address verification in progress")
	if _, found, _ := e.cache.Lookup("a@x"); found {
		t.Error("expired entry kept")
	}
}

func TestBadEntries(t *testing.T) {
	e, _, probes := engine(t)
	for _, value := range []string{"", "x", "0:0:0:text", "4:1:1:text", "0:1:text", "-1:1:1:t", "0:1:99999999999999999999:t"} {
		if _, err := parseEntry(value); err == nil {
			t.Errorf("%q accepted", value)
		}
		if err := e.cache.Update("a@x", value); err != nil {
			t.Fatal(err)
		}
		*probes = nil
		e.expect(t, "a@x", verifyclient.InProgress, "Address verification in progress")
		if len(*probes) != 1 {
			t.Errorf("%q: %d probes", value, len(*probes))
		}
	}
	if err := e.cache.Update("a_b@x", "0:0:1799999999:a:b"); err != nil {
		t.Fatal(err)
	}
	e.expect(t, "a:b@x", verifyclient.Deliverable, "a:b")
}

func TestClean(t *testing.T) {
	e, clock, _ := engine(t)
	e.Update("old@x", verifyclient.Deliverable, "ok")
	clock.advance(40 * day)
	e.Update("new@x", verifyclient.Deliverable, "ok")
	if err := e.cache.Update("bad@x", "x"); err != nil {
		t.Fatal(err)
	}
	if !e.cache.CleanOnce(context.Background(), e.cleaning()) {
		t.Error("not cleaned")
	}
	for key, want := range map[string]bool{"old@x": false, "new@x": true, "bad@x": false} {
		if _, found, _ := e.cache.Lookup(key); found != want {
			t.Errorf("%s: %v", key, found)
		}
	}
}

// A table that fails: there is no answer, and no probe.
func TestTableError(t *testing.T) {
	e, _, probes := engine(t, "address_verify_map = fail:x")
	e.expect(t, "a@x", verifyclient.Deferred, "Address verification status unavailable")
	if len(*probes) != 0 {
		t.Error("probe")
	}
	e.Update("a@x", verifyclient.Deliverable, "ok")
}

// Results outlive the process.
func TestDatabase(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, typ := range []string{"btree", "pebble"} {
		settings := []string{"mail_owner=" + me.Username, "data_directory=" + dir, "address_verify_map=" + typ + ":" + dir + "/" + typ}
		e, _, _ := engine(t, settings...)
		if e.InMemory() {
			t.Error("in memory")
		}
		e.Start()
		e.Update("a@x", verifyclient.Undeliverable, "550 no")
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e, _, probes := engine(t, settings...)
		e.Start()
		e.expect(t, "a@x", verifyclient.Undeliverable, "550 no")
		if len(*probes) != 0 {
			t.Error("asked again")
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e, _, _ := engine(t, "mail_owner="+me.Username, "address_verify_map=btree:"+dir+"/no/such")
	if !e.InMemory() {
		t.Error("a cache that cannot be there")
	}
}

func TestSender(t *testing.T) {
	for value, want := range map[string]string{"": "", "<>": "", "probe@x": "probe@x"} {
		e, _, _ := engine(t, "address_verify_sender = "+value)
		if e.sender.addr != want {
			t.Errorf("%q: %q", value, e.sender.addr)
		}
	}
	s := sender{addr: "p@x", ttl: time.Hour}
	if got := s.at("p@x", time.Unix(3600*(31*31+10), 0)); got != "p10B@x" {
		t.Error(got)
	}
	for _, value := range []string{"@x", "x@"} {
		if _, err := New(config.New(".", []config.Setting{{Name: "address_verify_sender", Value: value}, {Name: "myhostname", Value: "m.x"}}, config.Options{})); err == nil {
			t.Errorf("%q accepted", value)
		}
	}
}

func serve(t *testing.T, e *Engine) *attr.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	go func() {
		defer theirs.Close()
		e.Serve(context.Background(), attr.NewConn(theirs, attr.Null, "verify socket", 5*time.Second))
	}()
	c := attr.NewConn(ours, attr.Null, "private/verify socket", 5*time.Second)
	if err := c.R.Protocol(verifyclient.Protocol); err != nil {
		t.Fatal(err)
	}
	if err := c.R.End(); err != nil {
		t.Fatal(err)
	}
	return c
}

type single struct{ *attr.Conn }

func (s single) Call(_ context.Context, fn func(*attr.Conn) error) error { return fn(s.Conn) }

func TestServe(t *testing.T) {
	e, _, _ := engine(t)
	conn := serve(t, e)
	client := verifyclient.NewWith(single{conn})
	ctx := context.Background()
	if v, text, err := client.Query(ctx, "a@x"); v != verifyclient.InProgress || text != "Address verification in progress" || err != nil {
		t.Error(v, text, err)
	}
	if err := client.Update(ctx, "a@x", verifyclient.Deliverable, "250 fine"); err != nil {
		t.Error(err)
	}
	if v, text, err := client.Query(ctx, "a@x"); v != verifyclient.Deliverable || text != "250 fine" || err != nil {
		t.Error(v, text, err)
	}
	if err := client.Update(ctx, "a@x", verifyclient.InProgress, "x"); !errors.Is(err, verifyclient.ErrRequest) {
		t.Error(err)
	}
	// A request without an address has no answer; the next one has.
	if err := conn.W.Str("request", "query").End(); err != nil {
		t.Fatal(err)
	}
	if err := conn.W.Str("request", "nonsense").Str("x", "y").End(); err != nil {
		t.Fatal(err)
	}
	if status, err := conn.R.Int("status"); status != -2 || err != nil {
		t.Error(status, err)
	}
	if err := conn.R.End(); err != nil {
		t.Error(err)
	}
	if v, _, err := client.Query(ctx, "a@x"); v != verifyclient.Deliverable || err != nil {
		t.Error(v, err)
	}
}

// Strangers cannot have any number of probes under way, and a probe that fails
// in an unforeseen manner ends nothing else.
func TestProbesAreBounded(t *testing.T) {
	e, clock, _ := engine(t)
	block := make(chan struct{})
	var opened sync.WaitGroup
	cleanupclient.InProcess = func(context.Context, string, cleanupclient.Flags) (cleanupclient.Stream, error) {
		opened.Done()
		<-block
		panic("as asked")
	}
	defer func() { cleanupclient.InProcess = nil }()
	p := &prober{cfg: config.New(".", nil, config.Options{}), e: e, slots: make(chan struct{}, maxProbes)}
	e.probe = p.start
	e.sender.addr = ""
	opened.Add(maxProbes)
	for i := range maxProbes {
		e.Query(fmt.Sprintf("user%d@x.test", i))
	}
	opened.Wait()
	if e.Query("late@x.test"); len(p.slots) != maxProbes {
		t.Errorf("%d probes under way", len(p.slots))
	}
	settle := func() { // all of them end
		for range maxProbes {
			p.slots <- struct{}{}
		}
		for range maxProbes {
			<-p.slots
		}
	}
	close(block)
	settle()
	clock.advance(time.Second)
	opened.Add(1)
	e.Query("late@x.test") // was not taken for one that was probed
	opened.Wait()
	settle()
}

func FuzzEntry(f *testing.F) {
	f.Add("0:0:1795359605:other.example")
	f.Add(":::")
	f.Fuzz(func(t *testing.T, value string) {
		e, err := parseEntry(value)
		if err != nil {
			return
		}
		if again, err := parseEntry(e.String()); err != nil || again != e {
			t.Errorf("%q: %+v, %+v, %v", value, e, again, err)
		}
	})
}

// FuzzServe sends bytes as requests.
func FuzzServe(f *testing.F) {
	f.Add([]byte("request\x00query\x00address\x00a@x\x00\x00"))
	f.Add([]byte("request\x00update\x00address\x00a@x\x00recipient_status\x009\x00reason\x00\x00\x00"))
	e, _, _ := engine(f)
	e.probe = func(string) bool { return true }
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			e.Serve(context.Background(), attr.NewConn(theirs, attr.Null, "verify socket", 5*time.Second))
			theirs.Close()
		}()
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := ours.Read(buf); err != nil {
					return
				}
			}
		}()
		_, _ = ours.Write(data)
		ours.Close()
		<-done
	})
}
