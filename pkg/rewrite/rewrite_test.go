package rewrite

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/rewriteclient"
	_ "suffix/pkg/table/simple"
	"suffix/pkg/table/tabletest"
)

// engine returns an Engine with the given settings, "name = value" each.
func engine(t testing.TB, settings ...string) *Engine {
	t.Helper()
	list := []config.Setting{
		{Name: "myhostname", Value: "M"}, {Name: "mydomain", Value: "d.test"}, {Name: "myorigin", Value: "M"},
		{Name: "mydestination", Value: "M, localhost"}, {Name: "inet_interfaces", Value: "127.0.0.1"},
		{Name: "compatibility_level", Value: "3.6"},
	}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		list = append(list, config.Setting{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	e, err := New(config.New(t.TempDir(), list, config.Options{Warn: func(text string) { t.Log(text) }}), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func TestRewrite(t *testing.T) {
	e := engine(t)
	dotted := engine(t, "append_dot_mydomain = yes", "remote_header_rewrite_domain = remote.invalid")
	plain := engine(t, "swap_bangpath = no", "allow_percent_hack = no", "append_at_myorigin = no")
	for _, c := range []struct {
		e        *Engine
		rule     rewriteclient.Rule
		in, want string
	}{
		{e, "local", "joe", "joe@M"},
		{e, "local", `"joe"`, "joe@M"},
		{e, "local", "first last@x.t", `"first last"@x.t`},
		{e, "local", "joe (c)@x.t", `"joe (c)"@x.t`},
		{e, "local", "@a,@b:joe@c", "joe@c"},
		{e, "local", "@a:", `@a:""`},
		{e, "local", "@", `""`},
		{e, "local", `""`, `""`},
		{e, "local", "", ""},
		{e, "local", " ", `""`},
		{e, "local", "a%b%c", "a%b@c"},
		{e, "local", "a!b!c", "b!c@a"},
		{e, "local", "a!b%c", "b%c@a"},
		{e, "local", "a@b@c", `"a@b"@c`},
		{e, "local", `"joe%b"`, "joe%b@M"},
		{e, "local", "joe@x,bob@y", `"joe@x, bob"@y`},
		{e, "local", "<joe@x.t>", `"<joe"@x.t>`},
		{e, "local", `a\@b`, `"a@b"@M`},
		{e, "local", "a..b@x", `"a..b"@x`},
		{e, "local", "joe@x.", "joe@x"},
		{e, "local", "joe@x..", "joe@x.."},
		{e, "local", "joe@.", "joe@."},
		{e, "local", "!", `""@`},
		{e, "local", "a!", `""@a`},
		{e, "local", "!b", "b@"},
		{e, "local", "!x y", "xy@"},
		{e, "local", "a!x y", `"x y"@a`},
		{e, "local", "%b", `""@b`},
		{e, "remote", "joe", "joe"},
		{e, "remote", "joe@x", "joe@x"},
		{dotted, "local", "joe@x", "joe@x.d.test"},
		{dotted, "local", "joe@x.t", "joe@x.t"},
		{dotted, "local", "joe@[1.2.3.4]", "joe@[1.2.3.4]"},
		{dotted, "remote", "joe", "joe@remote.invalid"},
		{dotted, "remote", "joe@x", "joe@x.remote.invalid"},
		{plain, "local", "a!b%c", "a!b%c"},
	} {
		got, err := c.e.Rewrite(c.rule, c.in)
		if err != nil || got != c.want {
			t.Errorf("%s %q: got %q, %v; want %q", c.rule, c.in, got, err, c.want)
		}
	}
	if _, err := e.Rewrite("global", "joe"); err == nil || err.Error() != "unknown context: global" {
		t.Errorf("unknown rule: %v", err)
	}
}

func TestResolve(t *testing.T) {
	const (
		notTransport = "CHANNEL NOT UPDATED"
		notNextHop   = "NEXTHOP NOT UPDATED"
	)
	plain := engine(t)
	classes := engine(t, "virtual_alias_domains = alias.t", "virtual_mailbox_domains = box.t", "relay_domains = relay.t",
		"relayhost = [gate]:26", "virtual_transport = lmtp:unix:box", "allow_min_user = yes",
		"address_verify_default_transport = probe:hop", "address_verify_relayhost =")
	tables := engine(t, "recipient_delimiter = +",
		"transport_maps = inline:{ a@x.t=one:hop, b@x.t=two:, x.t=:only, {.x.t = sub:}, err.t=error:, *=star }",
		"relocated_maps = inline:{ gone@r.t=new@r.t, @all.t=elsewhere }")
	senders := engine(t, "sender_dependent_relayhost_maps = inline:{ s@x.t=[s-hop], <>=[null-hop], d@x.t=DUNNO }",
		"sender_dependent_default_transport_maps = inline:{ s@x.t=slow:[mine], <>=fast, d@x.t=DUNNO }", "relayhost = [relay]")
	status := engine(t, "relocated_maps = inline:{ {gone@r.t=5.7.1 not here}, bad@r.t=nowhere }", "relocated_prefix_enable = no")
	broken := engine(t, "transport_maps = nosuch:table")
	badList := engine(t, "virtual_alias_domains = nosuch:table")
	null := engine(t, "local_transport = :x")
	numeric := engine(t, "resolve_numeric_domain = yes", "resolve_null_domain = yes")
	for _, c := range []struct {
		e            *Engine
		sender, addr string
		verify       bool
		want         rewriteclient.Reply
	}{
		{plain, "", "joe", false, rewriteclient.Reply{Transport: "local", NextHop: "M", Recipient: "joe@M", Flags: 0x100}},
		{plain, "", "", false, rewriteclient.Reply{Transport: "local", NextHop: "M", Recipient: "MAILER-DAEMON@M", Flags: 0x100}},
		{plain, "", "joe@[127.0.0.1]", false, rewriteclient.Reply{Transport: "local", NextHop: "M", Recipient: "joe@[127.0.0.1]", Flags: 0x100}},
		{plain, "", "joe@[1.2.3.4]", false, rewriteclient.Reply{Transport: "smtp", NextHop: "[1.2.3.4]", Recipient: "joe@[1.2.3.4]", Flags: 0x1000}},
		{plain, "", "joe@127.0.0.1", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "joe@127.0.0.1", Flags: 0x1004}},
		{plain, "", "joe@[2001:db8::1]", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "joe@[2001:db8::1]", Flags: 0x1004}},
		{plain, "", "joe@x..", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "joe@x..", Flags: 0x1004}},
		{plain, "", "joe@", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "joe@", Flags: 0x1004}},
		{plain, "", "@", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "MAILER-DAEMON@", Flags: 0x1004}},
		{plain, "", "joe@@localhost", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "joe@", Flags: 0x1004}},
		{plain, "", "joe@-x.t", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "joe@-x.t", Flags: 0x1004}},
		{plain, "", "joe@[IPv6:2001:db8::1]", false, rewriteclient.Reply{Transport: "smtp", NextHop: "[IPv6:2001:db8::1]", Recipient: "joe@[IPv6:2001:db8::1]", Flags: 0x1000}},
		{plain, "", "-joe@x.t", false, rewriteclient.Reply{Transport: "smtp", NextHop: "x.t", Recipient: "-joe@x.t", Flags: 0x1004}},
		{plain, "", "a%b@localhost", false, rewriteclient.Reply{Transport: "smtp", NextHop: "b", Recipient: "a@b", Flags: 0x1000}},
		{plain, "", "a@b.t@localhost", false, rewriteclient.Reply{Transport: "smtp", NextHop: "b.t", Recipient: "a@b.t", Flags: 0x1000}},
		{plain, "", "a@b.t@c.t", false, rewriteclient.Reply{Transport: "smtp", NextHop: "c.t", Recipient: "a@b.t@c.t", Flags: 0x1002}},
		{plain, "", "joe@x.t.", false, rewriteclient.Reply{Transport: "smtp", NextHop: "x.t", Recipient: "joe@x.t", Flags: 0x1000}},
		{plain, "", "joe@pöst.test", false, rewriteclient.Reply{Transport: "smtp", NextHop: "pöst.test", Recipient: "joe@pöst.test", Flags: 0x1000}},
		{plain, "", "joe\xff@x.t", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "joe\xff@x.t", Flags: 0x1004}},
		{classes, "", "joe@alias.t", false, rewriteclient.Reply{Transport: "error", NextHop: "5.1.1 User unknown in virtual alias table", Recipient: "joe@alias.t", Flags: 0x200}},
		{classes, "", "joe@box.t", false, rewriteclient.Reply{Transport: "lmtp", NextHop: "unix:box", Recipient: "joe@box.t", Flags: 0x400}},
		{classes, "", "joe@sub.relay.t", false, rewriteclient.Reply{Transport: "relay", NextHop: "[gate]:26", Recipient: "joe@sub.relay.t", Flags: 0x800}},
		{classes, "", "-joe@other.t", false, rewriteclient.Reply{Transport: "smtp", NextHop: "[gate]:26", Recipient: "-joe@other.t", Flags: 0x1000}},
		{classes, "", "joe@other.t", true, rewriteclient.Reply{Transport: "probe", NextHop: "hop", Recipient: "joe@other.t", Flags: 0x1000}},
		{tables, "", "a+b@x.t", false, rewriteclient.Reply{Transport: "one", NextHop: "hop", Recipient: "a+b@x.t", Flags: 0x1000}},
		{tables, "", "B@x.t", false, rewriteclient.Reply{Transport: "two", NextHop: "x.t", Recipient: "B@x.t", Flags: 0x1000}},
		{tables, "", "c@x.t", false, rewriteclient.Reply{Transport: "smtp", NextHop: "only", Recipient: "c@x.t", Flags: 0x1000}},
		{tables, "", "c@s.x.t", false, rewriteclient.Reply{Transport: "sub", NextHop: "s.x.t", Recipient: "c@s.x.t", Flags: 0x1000}},
		{tables, "s@x.t", "c@y.t", false, rewriteclient.Reply{Transport: "star", NextHop: "y.t", Recipient: "c@y.t", Flags: 0x1000}},
		{senders, "s@x.t", "c@y.t", false, rewriteclient.Reply{Transport: "slow", NextHop: "[mine]", Recipient: "c@y.t", Flags: 0x1000}},
		{senders, "", "c@y.t", false, rewriteclient.Reply{Transport: "fast", NextHop: "[null-hop]", Recipient: "c@y.t", Flags: 0x1000}},
		{senders, "d@x.t", "c@y.t", false, rewriteclient.Reply{Transport: "smtp", NextHop: "[relay]", Recipient: "c@y.t", Flags: 0x1000}},
		{tables, "", "u@err.t", false, rewriteclient.Reply{Transport: "error", NextHop: "Address is undeliverable", Recipient: "u@err.t", Flags: 0x1000}},
		{tables, "", "gone+x@r.t", false, rewriteclient.Reply{Transport: "error", NextHop: "5.1.6 User has moved to new@r.t", Recipient: "gone+x@r.t", Flags: 0x1000}},
		{tables, "", "any@all.t", false, rewriteclient.Reply{Transport: "error", NextHop: "5.1.6 User has moved to elsewhere", Recipient: "any@all.t", Flags: 0x1000}},
		{status, "", "gone@r.t", false, rewriteclient.Reply{Transport: "error", NextHop: "5.7.1 not here", Recipient: "gone@r.t", Flags: 0x1000}},
		{status, "", "bad@r.t", false, rewriteclient.Reply{Transport: "error", NextHop: "5.2.0 Mailbox is unavailable", Recipient: "bad@r.t", Flags: 0x1000}},
		{broken, "", "joe@x.t", false, rewriteclient.Reply{Transport: "smtp", NextHop: "x.t", Recipient: "joe@x.t", Flags: 0x1008}},
		{badList, "", "joe@x.t", false, rewriteclient.Reply{Transport: notTransport, NextHop: notNextHop, Recipient: "joe@x.t", Flags: 0x8}},
		{null, "", "joe", false, rewriteclient.Reply{Transport: "", NextHop: "x", Recipient: "joe@M", Flags: 0x108}},
		{numeric, "", "joe@127.0.0.1", false, rewriteclient.Reply{Transport: "local", NextHop: "M", Recipient: "joe@[127.0.0.1]", Flags: 0x100}},
		{numeric, "", "joe@", false, rewriteclient.Reply{Transport: "local", NextHop: "M", Recipient: "joe@M", Flags: 0x100}},
	} {
		got, err := c.e.Resolve(c.sender, c.addr, c.verify)
		if err != nil || got != c.want {
			t.Errorf("%q:\n got %+v, %v\nwant %+v", c.addr, got, err, c.want)
		}
	}
}

// pair connects a server to a client.
func pair(t *testing.T, e *Engine) (client *attr.Conn, done chan struct{}) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	done = make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		e.Serve(context.Background(), attr.NewConn(theirs, attr.Null, "rewrite socket", 5*time.Second))
	}()
	client = attr.NewConn(ours, attr.Null, "private/rewrite socket", 5*time.Second)
	if err := client.R.Protocol(rewriteclient.Protocol); err != nil {
		t.Fatal(err)
	}
	if err := client.R.End(); err != nil {
		t.Fatal(err)
	}
	return client, done
}

// single is a Caller with one connection.
type single struct{ *attr.Conn }

func (s single) Call(_ context.Context, fn func(*attr.Conn) error) error { return fn(s.Conn) }

func TestServe(t *testing.T) {
	e := engine(t)
	conn, _ := pair(t, e)
	client := rewriteclient.NewWith(single{conn})
	ctx := context.Background()
	if got, err := client.Rewrite(ctx, rewriteclient.Local, "joe"); err != nil || got != "joe@M" {
		t.Errorf("rewrite: %q, %v", got, err)
	}
	want := rewriteclient.Reply{Transport: "smtp", NextHop: "x.t", Recipient: "joe@x.t", Flags: rewriteclient.ClassDefault}
	if got, err := client.Resolve(ctx, "s", "joe@x.t"); err != nil || got != want {
		t.Errorf("resolve: %+v, %v", got, err)
	}
	if got, err := client.VerifyResolve(ctx, "s", "joe@x.t"); err != nil || got != want {
		t.Errorf("verify: %+v, %v", got, err)
	}
	// The same once more comes from memory, not from the closed connection.
	conn.Close()
	if got, err := client.Rewrite(ctx, rewriteclient.Local, "joe"); err != nil || got != "joe@M" {
		t.Errorf("remembered: %q, %v", got, err)
	}
	if _, err := client.Rewrite(ctx, rewriteclient.Local, "jim"); err == nil {
		t.Error("answer from a closed connection")
	}
}

func TestServeBadRequests(t *testing.T) {
	e := engine(t)
	for name, send := range map[string]func(w *attr.Writer) error{
		"unknown":   func(w *attr.Writer) error { return w.Str("request", "nonsense").End() },
		"missing":   func(w *attr.Writer) error { return w.Str("request", "rewrite").Str("rule", "local").End() },
		"misplaced": func(w *attr.Writer) error { return w.Str("request", "resolve").Str("address", "x").End() },
		"rule": func(w *attr.Writer) error {
			return w.Str("request", "rewrite").Str("rule", "x").Str("address", "x").End()
		},
	} {
		conn, done := pair(t, e)
		if err := send(conn.W); err != nil && name != "misplaced" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := conn.R.Int("flags"); err == nil {
			t.Errorf("%s: answered", name)
		}
		<-done
	}
	conn, _ := pair(t, e)
	if err := conn.W.Str("request", "rewrite").Str("rule", "local").Str("address", "joe").Str("extra", "").End(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.R.Int("flags"); err != nil {
		t.Errorf("extra attribute: %v", err)
	}
}

func FuzzAddress(f *testing.F) {
	e := engine(f, "append_dot_mydomain = yes", "resolve_numeric_domain = yes")
	for _, s := range []string{"joe@x.t", `a!b%c@"d e"[1.2.3.4](x(y`, "\"", "\\", "@@@...", "!!", "joe@[IPv6:::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, rule := range []rewriteclient.Rule{rewriteclient.Local, rewriteclient.Remote} {
			if _, err := e.Rewrite(rule, text); err != nil {
				t.Fatal(err)
			}
		}
		reply, err := e.Resolve(text, text, false)
		if err != nil || reply.Flags == 0 {
			t.Fatalf("%+v, %v", reply, err)
		}
	})
}

// What only the old default of append_dot_mydomain completes is remarked on.
func TestOldDefault(t *testing.T) {
	const remark = "using backwards-compatible default setting append_dot_mydomain=yes to rewrite "
	for _, c := range []struct{ level, destination, address, want string }{
		{"0", "M", "joe@foo", remark + `"foo" to "foo.d.test"`},
		{"0", "M", "joe@localhost", remark + `"localhost" to "localhost.d.test"; please add "localhost" to mydestination or other address class`},
		{"0", "M, localhost", "joe@localhost", ""},
		{"0", "M", "joe@foo.test", ""},
		{"0", "M", "joe@[1.2.3.4]", ""},
		{"1", "M", "joe@foo", ""},
		{"0", "M\nappend_dot_mydomain = yes", "joe@foo", ""},
	} {
		list, err := config.ParseSettings("main.cf", "compatibility_level = "+c.level+"\nmydestination = "+c.destination+
			"\nmyhostname = M\nmydomain = d.test\ninet_interfaces = 127.0.0.1\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		lines := tabletest.Logged(t, func() {
			e, err := New(config.New(t.TempDir(), list, config.Options{}), maillog.For("test"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Rewrite("local", c.address); err != nil {
				t.Error(err)
			}
			e.Close()
		})
		if got := strings.TrimPrefix(strings.Join(lines, "\n"), "postfix/test: "); got != c.want {
			t.Errorf("level %s, %s: %q; want %q", c.level, c.address, got, c.want)
		}
	}
}
