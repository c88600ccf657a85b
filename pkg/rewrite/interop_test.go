//go:build interop

package rewrite

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/ipc"
	"suffix/pkg/rewriteclient"
	_ "suffix/pkg/table/simple"
	"suffix/test/realdaemon"
)

// instance makes directories and main.cf of a private instance, and starts the
// real trivial-rewrite for it.
func instance(t *testing.T, settings string) (*config.Main, *rewriteclient.Client) {
	t.Helper()
	root, err := os.MkdirTemp("", "rw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc", "spool", "spool/pid", "spool/private", "spool/public", "data"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	main := fmt.Sprintf("queue_directory = %[1]s/spool\ndata_directory = %[1]s/data\n", root) +
		"myhostname = mx.example.test\nmyorigin = origin.test\nmydomain = example.test\ninet_interfaces = 127.0.0.1\n" +
		fmt.Sprintf("maillog_file = %[1]s/log\nmaillog_file_prefixes = %[1]s\n", root) +
		strings.ReplaceAll(settings, "ROOT", root)
	for name, text := range map[string]string{"main.cf": main, "master.cf": ""} {
		path := filepath.Join(root, "etc", name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		// A main.cf that was just edited would be read again and again for a while.
		if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	logged := realdaemon.Collect(t, root+"/spool")
	t.Cleanup(func() {
		if lines := logged.Lines(); t.Failed() && len(lines) > 0 {
			t.Log("last of the log: " + strings.Join(lines[max(0, len(lines)-5):], "\n"))
		}
	})
	realdaemon.Start(t, realdaemon.Dir+"/trivial-rewrite", root+"/etc", root+"/spool", "private", "rewrite", "-m", "1000000")
	cfg, err := config.Load(config.Options{Dir: root + "/etc", Warn: func(text string) { t.Log(text) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(root + "/spool")
	client := rewriteclient.NewWith(&ipc.Persistent{Class: "private", Service: "rewrite", Protocol: rewriteclient.Protocol,
		Timeout: 10 * time.Second, Tries: 3})
	return cfg, client
}

// texts are table sources of the test instance.
var texts = map[string]string{
	"transport": "b.t smtp:[relay.b]\n.t slow:\nu@a.t :onlyhop\nx.c error:\n* fallback:star\nmx.example.test local:\n",
	"regexp":    "/^\\*$/ star:\n/^joe/ joe:\n/@b/ b:\n",
}

// pieces are what random addresses are made of.
var pieces = []string{"a", "b", "joe", "x.t", "b.t", "mx.example.test", "localhost", "virt.t", "box.t", "relay.t", "@", "@", "@", ".", "!", "%", ",",
	":", ";", "<", ">", "(", ")", "[", "]", "\"", "\\", " ", "\t", "|", "-", "+ext", "[127.0.0.1]", "[1.2.3.4]", "[IPv6:::1]", "1.2.3.4", "é", "\xff", "\x01", "12", "u@a.t"}

func TestSameAnswers(t *testing.T) {
	for _, settings := range []string{
		"compatibility_level = 3.6\nmydestination = mx.example.test, localhost\n",
		"compatibility_level = 3.6\nmydestination = mx.example.test, localhost\nappend_dot_mydomain=yes\nswap_bangpath=no\nresolve_numeric_domain=yes\nallow_min_user=yes\nremote_header_rewrite_domain=remote.invalid\n",
		"compatibility_level = 3.6\nmydestination = localhost\nvirtual_alias_domains = virt.t\nvirtual_mailbox_domains = box.t\nrelay_domains=relay.t\nrelayhost=[gate.test]:26\nallow_percent_hack=no\nresolve_null_domain=yes\nresolve_dequoted_address=no\n",
		"compatibility_level = 3.6\nmydestination = mx.example.test\ntransport_maps = texthash:ROOT/etc/transport\nrecipient_delimiter=+\nrelocated_maps=inline:{joe@x.t=gone, @b.t=away}\nsender_dependent_relayhost_maps=inline:{joe@x.t=[s.r], <>=null.r}\nsender_dependent_default_transport_maps=inline:{@x.t=uucp:, a@b.t=DUNNO}\nsmtputf8_enable=no\n",
		"compatibility_level = 3.6\nmydestination = localhost\nvirtual_alias_domains = texthash:ROOT/nosuch\n",
		"compatibility_level = 3.6\nmydestination = localhost\nvirtual_mailbox_domains = texthash:ROOT/nosuch\n",
		"compatibility_level = 3.6\nmydestination = localhost\nrelay_domains = texthash:ROOT/nosuch\n",
		"compatibility_level = 3.6\nmydestination = texthash:ROOT/nosuch\n",
		"compatibility_level = 3.6\nmydestination = localhost\nsender_dependent_relayhost_maps = texthash:ROOT/nosuch\n",
		"compatibility_level = 3.6\nmydestination = localhost\nsender_dependent_default_transport_maps = texthash:ROOT/nosuch\n",
		"compatibility_level = 3.6\nmydestination = localhost\ntransport_maps = texthash:ROOT/nosuch\n",
		"compatibility_level = 3.6\nmydestination = localhost\nrelocated_maps = texthash:ROOT/nosuch\nlocal_transport = :x\n",
	} {
		t.Run("", func(t *testing.T) {
			cfg, real := instance(t, settings)
			engine, err := New(cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer engine.Close()
			random := rand.New(rand.NewSource(1))
			rounds := 3000
			if strings.Contains(settings, "nosuch") {
				rounds = 100
			}
			for range rounds {
				var b strings.Builder
				for range 1 + random.Intn(7) {
					b.WriteString(pieces[random.Intn(len(pieces))])
				}
				if strings.Trim(b.String(), " \t") == "" {
					continue // the real one panics
				}
				compare(t, engine, real, b.String(), pieces[random.Intn(3)]+"@"+pieces[3+random.Intn(2)])
				if t.Failed() && len(failures) > 30 {
					break
				}
			}
		})
	}
}

var failures []string

func compare(t *testing.T, engine *Engine, real *rewriteclient.Client, text, sender string) {
	ctx := context.Background()
	for _, rule := range []rewriteclient.Rule{rewriteclient.Local, rewriteclient.Remote} {
		want, err := real.Rewrite(ctx, rule, text)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := engine.Rewrite(rule, text); got != want {
			failures = append(failures, text)
			t.Errorf("rewrite %s %q: got %q, want %q", rule, text, got, want)
		}
	}
	if strings.HasPrefix(text, "x.t") {
		sender = ""
	}
	for _, verify := range []bool{false, true} {
		ask := real.Resolve
		if verify {
			ask = real.VerifyResolve
		}
		want, err := ask(ctx, sender, text)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := engine.Resolve(sender, text, verify); got != want {
			failures = append(failures, text)
			t.Errorf("resolve %q from %q: got %+v, want %+v", text, sender, got, want)
		}
	}
}
