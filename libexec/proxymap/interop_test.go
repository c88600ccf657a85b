//go:build interop

package proxymap

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const realDaemon = "/usr/lib/postfix/sbin/proxymap"

// serve starts a proxymap process as master would: flow pipe, status pipe and
// listen socket are its descriptors 3 to 6.
func serve(t *testing.T, daemon, config, queue, service string) {
	t.Helper()
	path := queue + "/private/" + service
	os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	flowRead, flowWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	statusRead, statusWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "-n", service, "-t", "unix", "-z", "-u")
	cmd.Args[0] = "proxymap"
	cmd.Dir = queue
	cmd.Env = []string{"MAIL_CONFIG=" + config, "GENERATION=0", "PATH=/bin"}
	cmd.ExtraFiles = []*os.File{flowRead, flowWrite, statusWrite, socket}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		for _, f := range []*os.File{flowRead, flowWrite, statusRead, statusWrite, socket} {
			f.Close()
		}
	})
}

// TestClientsAndServers lets both postmaps talk with both proxymaps: each pair
// gives the same answers.
func TestClientsAndServers(t *testing.T) {
	bin := t.TempDir()
	for _, pkg := range []string{"suffix/libexec/heavy", "suffix/cmd/postmap"} {
		cmd := exec.Command("go", "build", "-o", bin+"/", pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for server, daemon := range map[string]string{"real": realDaemon, "ours": bin + "/heavy"} {
		t.Run(server+" server", func(t *testing.T) {
			// Sockets of the unix domain have short names, and the daemon runs
			// as another user.
			base, err := os.MkdirTemp("/tmp", "px")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(base) })
			for _, dir := range []string{"/etc", "/q", "/q/private", "/q/pid", "/data"} {
				if err := os.Mkdir(base+dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, dir := range []string{"", "/data", "/q/private"} {
				if err := os.Chmod(base+dir, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			main := fmt.Sprintf("queue_directory = %[1]s/q\ndata_directory = %[1]s/data\ncompatibility_level = 3.6\nmyhostname = host.example\n"+
				"suffix_dialect = 3.7\nproxy_read_maps = proxy:hash:%[1]s/h proxy:texthash:%[1]s/h proxy:fail:x\n"+
				"proxy_write_maps = proxy:btree:%[1]s/data/w\n", base)
			for name, text := range map[string]string{"/etc/main.cf": main, "/h": "Key value\nlow v2\n"} {
				if err := os.WriteFile(base+name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(base+name, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
					t.Fatal(err)
				}
			}
			run := func(program, stdin string, args ...string) string {
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "BASE", base)
				}
				cmd := exec.Command(program, args...)
				cmd.Args[0] = "postmap"
				cmd.Env = []string{"MAIL_CONFIG=" + base + "/etc", "PATH=/bin"}
				cmd.Stdin = strings.NewReader(stdin)
				out, _ := cmd.CombinedOutput()
				return fmt.Sprintf("%s(%d)", strings.ReplaceAll(string(out), base, "BASE"), cmd.ProcessState.ExitCode())
			}
			if got := run("/usr/sbin/postmap", "", "hash:BASE/h"); got != "(0)" {
				t.Fatal(got)
			}
			serve(t, daemon, base+"/etc", base+"/q", "proxymap")
			serve(t, daemon, base+"/etc", base+"/q", "proxywrite")
			for _, client := range []string{"/usr/sbin/postmap", bin + "/postmap"} {
				for _, c := range []struct {
					stdin, want string
					args        []string
				}{
					{"", "value\n(0)", []string{"-q", "KEY", "proxy:hash:BASE/h"}},
					{"", "(1)", []string{"-q", "none", "proxy:hash:BASE/h"}},
					{"", "v2\n(0)", []string{"-q", "low", "proxy:texthash:BASE/h"}},
					{"", "postmap: fatal: table proxy:fail:x: query error: Application error\n(1)", []string{"-q", "x", "proxy:fail:x"}},
					{"", "postmap: fatal: proxymap service is not configured for table \"static:no\"\n(1)", []string{"-q", "x", "proxy:static:no"}},
					{"", "postmap: fatal: can't sequence maps via the proxy service\n(1)", []string{"-s", "proxy:hash:BASE/h"}},
					{"", "postmap: fatal: proxywrite service is not configured for table \"hash:BASE/h\"\n(1)", []string{"-d", "x", "proxy:hash:BASE/h"}},
					{"", "(1)", []string{"-d", "x", "proxy:btree:BASE/data/w"}},
					{"low\nkey\nx\n", "low\tv2\nkey\tvalue\n(0)", []string{"-q", "-", "proxy:hash:BASE/h"}},
				} {
					if got := run(client, c.stdin, c.args...); got != c.want {
						t.Errorf("client %s, %v: %q, want %q", client, c.args, got, c.want)
					}
				}
			}
		})
	}
}
