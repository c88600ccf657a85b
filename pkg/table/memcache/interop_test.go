//go:build interop

package memcache

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/table"
	_ "suffix/pkg/table/bdb"
	"suffix/pkg/table/clienttest"
	"suffix/pkg/table/tabletest"
)

// socket is that of the real memcached.
var socket string

func init() { setup = startMemcached }

// startMemcached starts a private memcached(1) on a socket.
func startMemcached() (stop func(), err error) {
	dir, err := os.MkdirTemp("", "memcached")
	if err != nil {
		return func() {}, err
	}
	stop = func() { os.RemoveAll(dir) }
	socket = filepath.Join(dir, "s")
	cmd := exec.Command("memcached", "-s", socket, "-a", "0666", "-u", "nobody", "-m", "8", "-t", "1")
	os.Chmod(dir, 0o777)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return stop, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.RemoveAll(dir)
	}
	for range 500 {
		c, err := net.Dial("unix", socket)
		if err == nil {
			return stop, c.Close()
		}
		time.Sleep(10 * time.Millisecond) // until it listens
	}
	return stop, fmt.Errorf("memcached does not answer")
}

type run struct {
	stdin string
	args  []string
}

// For every kind of reply our postmap and the real one say the same, and end
// the same.
func TestSameAsPostfix(t *testing.T) {
	s := clienttest.Serve(t, "tcp", new(recorder).serve)
	at := "memcache = inet:" + s.Addr + "\ntimeout = 60"
	dir := clienttest.Config(t)
	plain := "memcache:" + clienttest.File(t, at)
	var runs []run
	for _, key := range slices.Concat(slices.Collect(maps.Keys(values)), slices.Collect(maps.Keys(lost)), []string{"miss", "HIT", "a b", "a@b"}) {
		runs = append(runs, run{"", []string{"-q", key, plain}})
	}
	for _, key := range slices.Concat(slices.Collect(maps.Keys(deleted)), []string{"dok", "a b"}) {
		runs = append(runs, run{"", []string{"-d", key, plain}})
	}
	runs = append(runs,
		run{"", []string{"-s", plain}},
		run{"hit\nmiss\nhit\n\nother\nHIT\na b\nempty\nhit\n\x80\n", []string{"-q", "-", plain}},
		run{"hit\nnoend\nhit\ntwo\nhit\n", []string{"-q", "-", plain}},
		run{"dok\ndnf\nx\n", []string{"-d", "-", plain}},
	)
	for _, setting := range []string{
		"domain = x.org", "domain = fail:x", "domain = hash:" + dir + "/none", "key_format = p:%s", "key_format = %u", "key_format = %d",
		"key_format = a b", "key_format = ", "key_format = %x", "key_format = %1.%2", "ttl = 1h", "ttl = -1", "ttl = x", "timeout = 1s",
		"max_try = 0", "retry_pause = 0", "line_size_limit = 0", "line_size_limit = 10", "data_size_limit = 0", "data_size_limit = 2",
		"flags = -1", "max_try = 3", "max_try = 1", "backup = inline:{sdisc=5}", "backup = foo:x", "backup = xx", "backup = hash:nofile",
		"backup = fail:x", "backup = inline:{snot=2}\nmax_try = 3\nttl = 77\nflags = -5", "memcache = localhost:1", "memcache = inet:",
		"memcache = unix:/none/such", "memcache = inet:1:2:3", "memcache = ", "memcache = inet:" + clienttest.Free(t) + "\nmax_try = 3",
		"memcache = inet:127.0.0.1:1\nbackup = inline:{k1=v}", "no equals sign", "= x", "ttl = 1\nttl = 2",
	} {
		spec := "memcache:" + clienttest.File(t, at, setting)
		runs = append(runs,
			run{"hit\na@x.org\na@y.org\na\n@x.org\nsdisc\nmiss\nhit\n", []string{"-q", "-", spec}},
			run{"", []string{"-q", "a@x.org", spec}})
		if strings.Contains(setting, "max_try") || strings.Contains(setting, "backup") || strings.Contains(setting, "domain") {
			runs = append(runs, run{"", []string{"-q", "disc", spec}}, run{"", []string{"-d", "a@y.org", spec}}, run{"", []string{"-s", spec}})
		}
	}
	clienttest.Each(runs, func(r run) { clienttest.Compare(t, dir, r.stdin, r.args...) })
	for _, name := range []string{dir + "/none", "./none", "legacy"} {
		clienttest.Compare(t, dir, "", "-q", "x", "memcache:"+name)
	}
}

// What differs on purpose: keys with control characters are never sent.
func TestControlsAreNotSent(t *testing.T) {
	r := new(recorder)
	s := clienttest.Serve(t, "tcp", r.serve)
	dir := clienttest.Config(t)
	ours := clienttest.Ours(t, dir, "", "-q", "a\x01b", "memcache:"+clienttest.File(t, "memcache = inet:"+s.Addr))
	if ours.Status != 1 || ours.Stderr != "" || len(r.take()) != 0 {
		t.Errorf("%+v", ours)
	}
}

// With the real server: what one of us has stored the other finds.
func TestRealServer(t *testing.T) {
	dir := clienttest.Config(t)
	path := clienttest.File(t, "memcache = unix:"+socket, "ttl = 600")
	spec := "memcache:" + path
	h := tabletest.Open(t, spec, table.Options{Mode: table.ReadWrite})
	var keys strings.Builder
	long := strings.Repeat("v", 10000)
	for i, value := range []string{"one", "two words", "é", "a\r\nEND", long} {
		key := fmt.Sprintf("key%d@example.com", i)
		if err := h.Update(key, value); err != nil {
			t.Fatal(err)
		}
		keys.WriteString(key + "\n")
		if got := tabletest.Find(t, h, key); got != value {
			t.Errorf("%s: %.50q", key, got)
		}
	}
	keys.WriteString("missing\nkey0@example.com\n")
	clienttest.Compare(t, dir, keys.String(), "-q", "-", spec)
	if got := clienttest.Theirs(t, dir, "", "-q", "key4@example.com", spec); got.Stdout != long+"\n" {
		t.Errorf("%.100q", got.Stdout)
	}
	// A key that the server refuses, and one of a megabyte.
	clienttest.Each([]int{250, 251, 100000, 1 << 20}, func(n int) {
		clienttest.Compare(t, dir, strings.Repeat("k", n)+"\nkey0@example.com\n", "-q", "-", spec)
	})
	if got := clienttest.Theirs(t, dir, "", "-d", "key0@example.com", spec); got.Status != 0 {
		t.Errorf("%+v", got)
	}
	if got := tabletest.Find(t, h, "key0@example.com"); got != "none" {
		t.Errorf("deleted by the real postmap: %s", got)
	}
	if found, err := h.Delete("key1@example.com"); !found || err != nil {
		t.Error(found, err)
	}
	clienttest.Compare(t, dir, "", "-q", "key1@example.com", spec)

	// A backup fills the real cache, whoever asks.
	backed := "memcache:" + clienttest.File(t, "memcache = unix:"+socket, "backup = inline:{fromours=1 fromtheirs=2}")
	clienttest.Ours(t, dir, "", "-q", "fromours", backed)
	clienttest.Theirs(t, dir, "", "-q", "fromtheirs", backed)
	clienttest.Compare(t, dir, "fromours\nfromtheirs\n", "-q", "-", spec)
	if got := tabletest.Find(t, h, "fromtheirs"); got != "2" {
		t.Error(got)
	}
	if got := clienttest.Theirs(t, dir, "", "-q", "fromours", spec); got.Stdout != "1\n" {
		t.Errorf("%+v", got)
	}

	// postmap -i writes to the cache.
	if got := clienttest.Ours(t, dir, "in1 first\nin2 second\n", "-i", spec); got.Status != 0 || got.Stderr != "" {
		t.Errorf("%+v", got)
	}
	if got := clienttest.Theirs(t, dir, "in1\nin2\n", "-q", "-", spec); got.Stdout != "in1\tfirst\nin2\tsecond\n" {
		t.Errorf("%+v", got)
	}
}
