package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/test/e2e/peer"
)

// connect opens an internal socket.
func connect(t testing.TB, s *system, path string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("unix", filepath.Join(s.Queue(), path), pollLimit)
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(pollLimit)))
	return c
}

// connectTCP opens an SMTP session without waiting for the greeting.
func connectTCP(t testing.TB, addr string) *peer.Client {
	t.Helper()
	c, err := peer.DialSilent(addr)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// attributes makes a list: name, value, name, value.
func attributes(list ...string) string { return strings.Join(list, "\x00") + "\x00\x00" }

// greeting is what a service says first.
func greeting(name string) string { return attributes("protocol", name+"_protocol") }

// deliveryRequest is a request for a message that does not exist.
var deliveryRequest = attributes("flags", "3", "queue_name", "active", "queue_id", "ABCDEF0123", "offset", "100", "size", "10", "nexthop", "nowhere.test",
	"encoding", "", "sendopts", "0", "sender", "x@client.test", "envelope_id", "", "ret_flags", "0",
	"time", strings.Repeat("A", 118)+"==", "log_client_name", "", "log_client_address", "", "log_client_port", "", "log_protocol_name", "", "log_helo_name", "",
	"sasl_method", "", "sasl_username", "", "sasl_sender", "", "log_ident", "", "rewrite_context", "local", "recipient_count", "1") +
	attributes("original_recipient", "", "recipient", "y@nowhere.test", "offset", "50", "dsn_orig_rcpt", "", "notify_flags", "0")

// A service is an internal socket, with a request and the answer to it. The
// answers of some services go on after the part given.
type internal struct {
	path, greeting, request, answer string
}

// services are all internal sockets with a protocol of their own.
func services() []internal {
	agent := func(name string) internal {
		return internal{"private/" + name, greeting("delivery_request"), deliveryRequest,
			attributes("status", "", "diag_type", "", "diag_text", "", "mta_type", "", "mta_mname", "", "action", "", "reason", "", "status", "4294967295")}
	}
	report := func(name string) internal {
		return internal{"private/" + name, greeting("delivery_status"),
			attributes("nrequest", "0", "flags", "0", "queue_id", "ABCDEF0123", "original_recipient", "", "recipient", "y@nowhere.test", "offset", "0", "dsn_orig_rcpt", "", "notify_flags", "0",
				"status", "5.0.0", "diag_type", "", "diag_text", "", "mta_type", "", "mta_mname", "", "action", "failed", "reason", "test"),
			attributes("status", "0")}
	}
	return []internal{
		agent("smtp"), agent("relay"), agent("lmtp"), agent("local"), agent("virtual"),
		report("bounce"), report("defer"), report("trace"),
		{"private/rewrite", greeting("trivial_rewrite"), attributes("request", "resolve", "sender", "x@client.test", "address", "someone@"+virtualDomain),
			attributes("flags", "0", "transport", "virtual", "nexthop", virtualDomain, "recipient", "someone@"+virtualDomain, "flags", "1024")},
		{"private/verify", "protocol\x00address_verification_prrotocol\x00\x00", attributes("request", "update", "address", "x@client.test", "recipient_status", "0", "reason", "test"), attributes("status", "0")},
		{"private/proxymap", greeting("proxymap"), attributes("request", "open", "table", "static:x", "instance_flags", "0"), "status\x004\x00"},
		{"private/proxywrite", greeting("proxymap"), attributes("request", "open", "table", "static:x", "instance_flags", "0"), "status\x004\x00"},
		{"private/scache", greeting("connection_cache"), attributes("request", "find_endp", "label", "none"), attributes("status", "2", "property", "")},
		{"private/tlsmgr", greeting("tlsmgr"), attributes("request", "seed", "size", "0"), attributes("status", "4294967294", "seed", "")},
		{"private/anvil", "protocol=anvil_protocol\n\n", "request=lookup\nident=test:192.0.2.1\n\n", "status=0\ncount=0\nrate=0\n"},
		{"public/flush", greeting("queue_flush"), attributes("request", "send_file", "queue_id", "ABCDEF0123"), attributes("status", "0")},
		{"public/showq", greeting("mail_queue_list"), "", "\x00"},
		// Garbage is a request for nothing; there is no answer.
		{"public/qmgr", "", "?", ""}, {"public/pickup", "", "?", ""},
		// The greeting has the queue ID; a request without records is one
		// that the client gives up.
		{"public/cleanup", "protocol\x00cleanup_protocol\x00queue_id\x00", "", ""},
	}
}

// exchange sends one proper request and reads the answer to it.
func (i internal) exchange(s *system) error {
	c, err := net.DialTimeout("unix", filepath.Join(s.Queue(), i.path), pollLimit)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(pollLimit)); err != nil {
		return err
	}
	for _, part := range []struct{ send, want string }{{"", i.greeting}, {i.request, i.answer}} {
		if part.send == "" {
			// Nothing is asked; and who has answered may have gone.
		} else if _, err := io.WriteString(c, part.send); err != nil {
			return fmt.Errorf("%s: %w", i.path, err)
		}
		got := make([]byte, len(part.want))
		n, err := io.ReadFull(c, got)
		if err != nil || string(got) != part.want {
			return fmt.Errorf("%s: got %q, %v; want %q", i.path, got[:n], err, part.want)
		}
	}
	return nil
}

// hostile is what the services are sent, each in a connection of its own.
func hostile(i internal) []string {
	random := rand.New(rand.NewPCG(7, uint64(len(i.path))))
	noise := make([]byte, 20_000)
	for k := range noise {
		noise[k] = byte(random.IntN(256))
	}
	list := []string{
		"", "\x00", "x", "\n", "W", string(noise), string(noise[:50]),
		strings.Repeat("\x00", 5000), strings.Repeat("x", 500_000), strings.Repeat("a\x00b\x00", 20_000),
		strings.Repeat("{\x00", 5000),
		attributes("unknown", "attribute", "list", "of", "no", "sense"),
		attributes("request", "no-such-request"), attributes("nrequest", "99", "flags", "-1"), attributes("flags", "x"), attributes("flags", "99999999999999999999"),
		"protocol=x\nrequest=y\n\n", "request=connect\n", "=\n\n",
	}
	if i.request != "" {
		// Parts of a proper request, with more behind it, and with other
		// values.
		list = append(list, i.request[:len(i.request)/2], i.request[:len(i.request)-1], i.request+"more\x00than\x00needed\x00\x00",
			strings.ReplaceAll(i.request, "\x000\x00", "\x00-1\x00"), strings.ReplaceAll(i.request, "ABCDEF0123", "../../etc/passwd"),
			strings.Replace(i.request, "test", "te\x01\x02\xff\xfest", -1), strings.ToUpper(i.request))
	}
	if i.path == "public/cleanup" {
		// Records that are none, behind flags that are right.
		for _, records := range []string{string(noise), "T\x81\x80\x80\x80\x08", "T\xff\xff\xff\xff\xff\xff", "S\x02", "R\x00S\x00M\x00X\x00E\x00", "T\x011S\x00R\x01xM\x00N\x00p\x02 0X\x00E\x00", "T\x03a bE\x00"} {
			list = append(list, attributes("flags", "178")+records)
		}
	}
	return list
}

// TestInternalSockets sends garbage to every internal socket, leaves in the
// middle of everything, and stays without a word. The same daemons must go on,
// and answer the next request.
func TestInternalSockets(t *testing.T) {
	t.Parallel()
	s := start(t, plan{main: map[string]string{"max_use": "100000", "in_flow_delay": "0", "fast_flush_domains": "site.test"}})
	var pids map[int]string
	snapshot := func() map[int]string {
		all := make(map[int]string)
		for _, p := range s.daemons("") {
			all[p.pid] = p.name
		}
		return all
	}
	list := services()
	for _, i := range list {
		must(t, i.exchange(s))
	}
	pids = snapshot()
	for _, i := range list {
		for _, text := range hostile(i) {
			c := connect(t, s, i.path)
			// The service may leave first.
			_, err := io.WriteString(c, text)
			if err == nil && len(text)%2 == 1 {
				// Half of them wait for whatever comes of it.
				must(t, c.(*net.UnixConn).CloseWrite())
				_, err = io.Copy(io.Discard, c)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: no end after %.40q", i.path, text)
			}
			c.Close()
		}
		// Clients that hang, before and within a request.
		for range 20 {
			c := connect(t, s, i.path)
			defer c.Close()
			half := connect(t, s, i.path)
			defer half.Close()
			if i.request == "" {
				continue
			}
			if _, err := io.WriteString(half, i.request[:len(i.request)/2]); err != nil {
				t.Errorf("%s: %v", i.path, err)
			}
		}
		if err := i.exchange(s); err != nil {
			t.Error(err)
		}
	}
	for _, i := range list {
		if err := i.exchange(s); err != nil {
			t.Error(err)
		}
	}
	now := snapshot()
	for pid, name := range pids {
		if now[pid] != name {
			t.Errorf("%s [%d] has ended", name, pid)
		}
	}
	for _, line := range s.logLines(t, "throttling") {
		t.Error(line)
	}
	// The log takes anything too.
	for _, text := range []string{"", "\n", strings.Repeat("x", 10_000), "line\nNov 22 12:00:00 suffix postfix/smtpd[1]: forged", "\x00\xff\x1b"} {
		c, err := net.Dial("unixgram", filepath.Join(s.Queue(), "public/postlog"))
		must(t, err)
		// Too long a datagram is refused by the system.
		if _, err := io.WriteString(c, text); err != nil && len(text) < 4096 {
			t.Error(err)
		}
		c.Close()
	}
	to := "after@" + virtualDomain
	s.send(t, "x@client.test", to, plain("x@client.test", to, "text"))
	s.awaitMail(t, to)
	log, err := os.ReadFile(s.Log())
	must(t, err)
	if bytes.Contains(log, []byte("\nNov 22 12:00:00 suffix postfix/smtpd[1]: forged")) {
		t.Error("a line of the log is forged")
	}
}

// TestHostilePostdrop gives postdrop records that it must refuse.
func TestHostilePostdrop(t *testing.T) {
	c := shared(t)
	rec := func(kind byte, text string) string { return record(kind, text) }
	head, tail := rec('S', "x@client.test"), rec('R', "dropped@"+virtualDomain)+rec('M', "")+rec('N', "text")+rec('X', "")+rec('E', "")
	for _, test := range []struct{ name, input, want string }{
		{"line break in sender", rec('S', "a\nFrom x@y") + tail, "null or line break in 'sender' record type: a?From x@y"},
		{"null in recipient", head + rec('R', "a\x00b") + tail, "null or line break in 'recipient' record type: a"},
		{"carriage return in name", rec('F', "a\rb") + head + tail, "null or line break in 'sender_fullname' record type: a?b"},
		{"line break in attribute", rec('A', "encoding=8bit\n") + head + tail, "null or line break in 'named_attribute' record type: encoding=8bit?"},
		{"type 0", head + rec(0, "") + tail, "unexpected record type: 0"},
		{"pointer", head + rec('p', "0") + tail, "unexpected record type: 112"},
		{"length", head + "R\x81\x80\x80\x80\x08" + tail, "malformed input"},
		{"long", head + rec('R', strings.Repeat("x", 5000)) + tail, "malformed input"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := c.Command("postdrop", "-r")
			cmd.Stdin = strings.NewReader(test.input)
			text, code := status(t, cmd)
			want := fmt.Sprintf("postdrop: fatal: uid=%d: %s\n", os.Getuid(), test.want)
			if code != 1 || !strings.HasSuffix(text, want) {
				t.Errorf("exit status %d, %q; want 1, %q", code, text, want)
			}
		})
	}
	// Input that just ends is a client that gave up.
	cmd := c.Command("postdrop", "-r")
	cmd.Stdin = strings.NewReader(head + rec('R', "dropped@"+virtualDomain))
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		t.Errorf("postdrop: %v", err)
	}
	if list, err := c.mailFor("dropped@" + virtualDomain); err != nil || len(list) > 0 {
		t.Errorf("refused mail has arrived: %d, %v", len(list), err)
	}
}

// record makes a record of a queue file.
func record(kind byte, text string) string {
	length := []byte{}
	n := len(text)
	for ; n >= 0x80; n >>= 7 {
		length = append(length, byte(n)|0x80)
	}
	return string(kind) + string(append(length, byte(n))) + text
}
