package tlsmgr

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/test/realdaemon"
)

// TestMain is the daemon, where it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-n" {
		Main()
	}
	os.Exit(m.Run())
}

// Sessions are kept in a database that only mail_owner can read, and are
// forgotten when the daemon starts anew.
func TestDatabase(t *testing.T) {
	config, queue, data, options := realdaemon.Prepare(t, "smtpd_tls_session_cache_database = btree:$data_directory/smtpd_scache\n")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	session := base64.StdEncoding.EncodeToString([]byte("a session"))
	found := list("status", "0", "session", session)
	lost := list("status", "4294967295", "session", "")
	for run, want := range []string{found, lost} {
		t.Run(want, func(t *testing.T) {
			realdaemon.Start(t, program, config, queue, "private", "tlsmgr", options...)
			conn, err := net.Dial("unix", queue+"/private/tlsmgr")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c := attr.NewConn(conn, attr.Null, "tlsmgr socket", 10*time.Second)
			if err := errors.Join(c.R.Protocol("tlsmgr_protocol"), c.R.End()); err != nil {
				t.Fatal(err)
			}
			ask := func(request string) string {
				t.Helper()
				if _, err := conn.Write([]byte(request)); err != nil {
					t.Fatal(err)
				}
				reply := make([]byte, 4096)
				n, err := conn.Read(reply)
				if err != nil {
					t.Fatal(err)
				}
				return string(reply[:n])
			}
			if run == 0 {
				if got := ask(list("request", "update", "cache_type", "smtpd", "cache_id", "x", "session", session)); got != list("status", "0") {
					t.Errorf("%q", got)
				}
			}
			if got := ask(list("request", "lookup", "cache_type", "smtpd", "cache_id", "x")); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			err = filepath.WalkDir(data+"/smtpd_scache.pebble", func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := d.Info()
				if err == nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s: %v", path, info.Mode())
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
