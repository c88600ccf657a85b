package verify

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/table"
	"suffix/pkg/verifyclient"
	"suffix/test/realdaemon"

	_ "suffix/pkg/table/pebble"
)

// TestMain is the daemon, where it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-n" {
		Main()
	}
	os.Exit(m.Run())
}

func dial(t *testing.T, queue string) *attr.Conn {
	t.Helper()
	c, err := net.Dial("unix", queue+"/private/verify")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	conn := attr.NewConn(c, attr.Null, "private/verify socket", 10*time.Second)
	if err := conn.R.Protocol(verifyclient.Protocol); err != nil {
		t.Fatal(err)
	}
	if err := conn.R.End(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func update(t *testing.T, c *attr.Conn, addr string, verdict verifyclient.Verdict, text string) {
	t.Helper()
	if err := c.W.Str("request", "update").Str("address", addr).Int("recipient_status", int(verdict)).Str("reason", text).End(); err != nil {
		t.Fatal(err)
	}
	status, err := c.R.Int("status")
	if err != nil || status != 0 {
		t.Fatal(status, err)
	}
	if err := c.R.End(); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, c *attr.Conn, addr string) string {
	t.Helper()
	if err := c.W.Str("request", "query").Str("address", addr).End(); err != nil {
		t.Fatal(err)
	}
	status, _ := c.R.Int("status")
	verdict, _ := c.R.Int("recipient_status")
	text, err := c.R.Str("reason")
	if err == nil {
		err = c.R.End()
	}
	if err != nil || status != 0 {
		t.Fatal(status, err)
	}
	return strconv.Itoa(verdict) + " " + text
}

// The daemon keeps what it has found out when it ends and starts again, also
// with the setting of an earlier Postfix; postmap can look into the database
// while the daemon runs.
func TestRestart(t *testing.T) {
	for typ, setting := range map[string]string{
		"pebble": "", "btree": "address_verify_map = btree:$data_directory/verify_cache\n",
	} {
		config, queue, data, options := realdaemon.Prepare(t, setting)
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		t.Run(typ+", first", func(t *testing.T) {
			os.Remove(queue + "/public/postlog")
			log := realdaemon.Collect(t, queue)
			realdaemon.Start(t, program, config, queue, "private", "verify", options...)
			defer func() {
				if t.Failed() {
					t.Log(log.Lines())
				}
			}()
			c := dial(t, queue)
			update(t, c, "good@x", verifyclient.Deliverable, "fine")
			update(t, c, "bad@x", verifyclient.Undeliverable, "unknown user")
			if got := query(t, c, "bad@x"); got != "2 unknown user" {
				t.Error(got)
			}
			for _, line := range log.Lines() {
				if strings.Contains(line, "warning") {
					t.Error(line)
				}
			}

			h := table.Open("pebble:"+data+"/verify_cache", table.Options{Command: true})
			if err := h.Err(); err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if value, found, err := h.Lookup("bad@x"); !strings.HasPrefix(value, "2:0:") || !found || err != nil {
				t.Error(value, found, err)
			}
		})
		t.Run(typ+", second", func(t *testing.T) {
			os.Remove(queue + "/public/postlog")
			log := realdaemon.Collect(t, queue)
			realdaemon.Start(t, program, config, queue, "private", "verify", options...)
			defer func() {
				if t.Failed() {
					t.Log(log.Lines())
				}
			}()
			c := dial(t, queue)
			if got := query(t, c, "bad@x"); got != "2 unknown user" {
				t.Error(got, log.Lines())
			}
			if got := query(t, c, "good@x"); got != "0 fine" {
				t.Error(got, log.Lines())
			}
		})
		if info, err := os.Stat(data + "/verify_cache.pebble"); err != nil || !info.IsDir() {
			t.Errorf("no database: %v", err)
		}
	}
}
