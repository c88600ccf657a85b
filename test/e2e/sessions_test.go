package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/test/e2e/peer"
)

// freePort finds a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestManySessions has 200 sessions at once in one process, all of which get
// their message through.
func TestManySessions(t *testing.T) {
	t.Parallel()
	s := start(t, plan{main: map[string]string{"default_process_limit": "300"}})
	const sessions = 200
	clients := make([]*peer.Client, sessions)
	for i := range clients {
		c := s.dial(t)
		to := fmt.Sprintf("many-%d@%s", i, virtualDomain)
		must(t, c.Begin("<many@client.test>", "<"+to+">"))
		clients[i] = c
	}
	if list := s.daemons("smtpd"); len(list) != 1 {
		t.Errorf("%d smtpd processes for %d sessions: %v", len(list), sessions, list)
	}
	if list := s.daemons(""); len(list) > 12 {
		t.Errorf("%d processes: %v", len(list), list)
	}
	// A new client is served beside them.
	s.send(t, "many@client.test", "beside@"+virtualDomain, plain("many@client.test", "beside", "text"))
	s.awaitMail(t, "beside@"+virtualDomain)
	for i, c := range clients {
		r, err := c.Data(plain("many@client.test", "many", fmt.Sprintf("text %d", i)))
		must(t, err)
		_, err = peer.QueueID(r)
		must(t, err)
		must(t, c.Quit())
	}
	s.awaitEmpty(t)
	for i := range clients {
		if m := s.awaitMail(t, fmt.Sprintf("many-%d@%s", i, virtualDomain)); !strings.HasSuffix(m, fmt.Sprintf("\n\ntext %d\n", i)) {
			t.Errorf("message %d is\n%s", i, m)
		}
	}
	if list := s.daemons(""); len(list) > 14 {
		t.Errorf("%d processes: %v", len(list), list)
	}
}

// TestProcessLimit gives a service a limit of three clients: the fourth waits
// until one leaves.
func TestProcessLimit(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	s := start(t, plan{entries: []string{fmt.Sprintf("127.0.0.1:%d inet n - n - 3 smtpd -o smtpd_banner=three", port)}})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	dial := func() *peer.Client {
		t.Helper()
		c, err := peer.DialSilent(addr)
		must(t, err)
		t.Cleanup(c.Close)
		return c
	}
	var clients []*peer.Client
	for range 3 {
		c := dial()
		r, err := c.Read()
		must(t, err)
		if r.String() != "220 three" {
			t.Fatalf("greeting %q", r)
		}
		clients = append(clients, c)
	}
	fourth, fifth := dial(), dial()
	// The three work, and that takes its time, and still nobody speaks to the
	// fourth.
	for i, c := range clients {
		to := fmt.Sprintf("limit-%d@%s", i, virtualDomain)
		must(t, c.Begin("<limit@client.test>", "<"+to+">"))
		r, err := c.Data(plain("limit@client.test", to, "text"))
		must(t, err)
		_, err = peer.QueueID(r)
		must(t, err)
		s.awaitMail(t, to)
	}
	for i, c := range []*peer.Client{fourth, fifth} {
		if r, err := c.ReadWithin(10 * time.Millisecond); err == nil {
			t.Errorf("client %d got %q beyond the limit", i+4, r)
		}
	}
	must(t, clients[1].Quit())
	r, err := fourth.Read()
	if err != nil || r.Code != "220" {
		t.Fatalf("the fourth client got %q, %v", r, err)
	}
	if r, err := fifth.ReadWithin(10 * time.Millisecond); err == nil {
		t.Errorf("the fifth client got %q beyond the limit", r)
	}
	// A client that just goes away makes room too.
	clients[0].Close()
	if r, err := fifth.Read(); err != nil || r.Code != "220" {
		t.Fatalf("the fifth client got %q, %v", r, err)
	}
	// The other service has its own limit.
	must(t, s.dial(t).Quit())
}

// TestReload has a session in the middle of a message while the configuration
// changes.
func TestReload(t *testing.T) {
	t.Parallel()
	s := start(t, plan{main: map[string]string{"smtpd_banner": "first"}})
	old := s.dial(t)
	if old.Greeting.String() != "220 first" {
		t.Errorf("greeting %q", old.Greeting)
	}
	to := "reload@" + virtualDomain
	must(t, old.Begin("<reload@client.test>", "<"+to+">"))
	_, err := old.Expect("DATA", "354")
	must(t, err)
	content := plain("reload@client.test", to, "written before and after")
	must(t, old.Write(content[:len(content)/2]))
	before := s.daemons("smtpd")
	if len(before) != 1 {
		t.Fatalf("smtpd processes %v", before)
	}
	text, err := os.ReadFile(filepath.Join(s.Config(), "main.cf"))
	must(t, err)
	must(t, s.configure("main.cf", strings.Replace(string(text), "smtpd_banner = first", "smtpd_banner = second", 1)))
	must(t, s.age())
	must(t, s.Control("reload"))
	s.awaitLog(t, `master\[\d+\]: reload -- version 3\.11\.\S+, configuration `+s.Config())
	var renewed *peer.Client
	must(t, poll("the new banner", func() (bool, error) {
		c, err := peer.Dial(s.Address())
		if err != nil {
			return false, err
		}
		if c.Greeting.String() == "220 second" {
			renewed = c
			return true, nil
		}
		c.Close()
		return false, nil
	}))
	defer renewed.Close()
	must(t, renewed.Begin("<reload@client.test>", "<"+to+">"))
	// The old session ends its message, and has another.
	must(t, old.Write(content[len(content)/2:]))
	r, err := old.Do(".")
	must(t, err)
	_, err = peer.QueueID(r)
	must(t, err)
	must(t, old.Envelope("<reload@client.test>", "<"+to+">"))
	r, err = old.Data(plain("reload@client.test", to, "the second of the old session"))
	must(t, err)
	_, err = peer.QueueID(r)
	must(t, err)
	must(t, old.Quit())
	r, err = renewed.Data(plain("reload@client.test", to, "the third"))
	must(t, err)
	_, err = peer.QueueID(r)
	must(t, err)
	must(t, renewed.Quit())
	all := strings.Join(s.awaitMails(t, to, 3), "")
	for _, want := range []string{"\nwritten before and after\n", "\nthe second of the old session\n", "\nthe third\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in the messages", want)
		}
	}
	must(t, poll("the end of the old process", func() (bool, error) {
		for _, p := range s.daemons("smtpd") {
			if p.pid == before[0].pid {
				return false, nil
			}
		}
		return true, nil
	}))
}

// TestStopAndStart stops with sessions open, messages half received, and a
// queue that could not be delivered. What was accepted is delivered once after
// the start; what was not is not.
func TestStopAndStart(t *testing.T) {
	t.Parallel()
	sink := newSink(t, peer.SinkOptions{})
	sink.Hold()
	s := start(t, plan{main: map[string]string{"transport_maps": "inline:{relay.test=smtp:" + sink.NextHop() + "}"}})
	const (
		messages = 300
		senders  = 6
		open     = 50
	)
	var wg sync.WaitGroup
	errs := make(chan error, senders)
	for w := range senders {
		wg.Go(func() { errs <- sendMany(s.Address(), w, messages/senders) })
	}
	wg.Wait()
	for range senders {
		must(t, <-errs)
	}
	var clients []*peer.Client
	for i := range open {
		c := s.dial(t)
		clients = append(clients, c)
		must(t, c.Begin("<open@client.test>", fmt.Sprintf("<open-%d@relay.test>", i)))
		if i%2 == 0 {
			_, err := c.Expect("DATA", "354")
			must(t, err)
			must(t, c.Write("Subject: half\r\n\r\nof a message\r\n"))
		}
	}
	must(t, poll("deliveries that wait", func() (bool, error) { return sink.Waiting() > 0, nil }))
	if len(sink.Messages()) != 0 {
		t.Fatal("messages arrived too early")
	}
	must(t, s.Stop())
	for i, c := range clients {
		if text, _ := c.ReadAll(); strings.Contains(text, "queued as") {
			t.Errorf("session %d: %s", i, text)
		}
	}
	sink.Release()
	must(t, s.Start())
	must(t, sink.Await(pollLimit, func(list []peer.Message) bool { return len(list) >= messages }))
	s.awaitEmpty(t)
	times := make(map[string]int)
	for _, m := range sink.Messages() {
		for _, r := range m.Rcpts {
			address, _, _ := strings.Cut(r, " ")
			times[address]++
		}
	}
	for w := range senders {
		for i := range messages / senders {
			if rcpt := fmt.Sprintf("<queued-%d-%d@relay.test>", w, i); times[rcpt] != 1 {
				t.Errorf("%d deliveries for %s", times[rcpt], rcpt)
			}
		}
	}
	if len(times) != messages {
		t.Errorf("%d recipients, want %d", len(times), messages)
	}
}

// sendMany sends messages over one session.
func sendMany(addr string, w, n int) error {
	c, err := peer.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Expect("EHLO client.test", "250"); err != nil {
		return err
	}
	for i := range n {
		to := fmt.Sprintf("queued-%d-%d@relay.test", w, i)
		if err := c.Envelope("<queued@client.test>", "<"+to+">"); err != nil {
			return err
		}
		r, err := c.Data(plain("queued@client.test", to, "text of "+to))
		if err != nil {
			return err
		}
		if _, err := peer.QueueID(r); err != nil {
			return err
		}
	}
	return c.Quit()
}
