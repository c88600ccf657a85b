//go:build interop

package socketmap

import (
	"bufio"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/table/clienttest"
)

// newer are the keys for which Postfix 3.11 says other than 3.7.
var newer = map[string]string{
	"okonly": "a reply OK without data is an empty value, not a missing one",
}

// TestSameAsPostfix: for every kind of reply our postmap and the real one say
// the same and end the same.
func TestSameAsPostfix(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		s := clienttest.Serve(t, network, serve)
		spec := "socketmap:" + map[string]string{"tcp": "inet:", "unix": "unix:"}[network] + s.Addr + ":m"
		dir := clienttest.Config(t)
		clienttest.Each(slices.Collect(maps.Keys(replies)), func(key string) {
			if newer[key] == "" {
				clienttest.Compare(t, dir, "", "-q", key, spec)
			}
		})
		for key, why := range newer {
			if ours, theirs := clienttest.Both(t, dir, "", "-q", key, spec); ours == theirs {
				t.Errorf("%s: no difference, but %s", key, why)
			}
		}
		type run struct {
			stdin string
			args  []string
		}
		clienttest.Each([]run{
			{"ok\nnf\nok\n\na b\nOK\nokempty\nc\x80\n", []string{"-q", "-", spec}},
			{"ok\n" + strings.Repeat("k", 9990) + "\nok\n\xc3\xa9\n", []string{"-q", "-", spec}},
			{"", []string{"-f", "-u", "-q", "bin", spec}},
			{"", []string{"-d", "ok", spec}},
			{"", []string{"-s", spec}},
		}, func(r run) { clienttest.Compare(t, dir, r.stdin, r.args...) })
	}
}

func TestPlacesSameAsPostfix(t *testing.T) {
	s := clienttest.Serve(t, "tcp", serve)
	_, port, _ := net.SplitHostPort(s.Addr)
	dir := clienttest.Config(t)
	clienttest.Each([]string{
		"foo", "foo:bar", "foo:1:bar", "inet:bar", "unix:bar", "unix::bar", "unix:nosock:bar", "unix:" + dir + "/none:bar",
		"inet:" + clienttest.Free(t) + ":m", "inet:127.0.0.1:nosuch:m", "inet:nohost.invalid:99:m", "inet:localhost:" + port + ":m",
		"inet:[127.0.0.1]:" + port + ":m", "inet:" + port + ":m", "inet::" + port + ":m", "inet:127.0.0.1:" + port + ":", "inet:127.0.0.1:1:2:m",
		"inet:[127.0.0.1:1:m", "inet:-x:1:m", "inet:a..b:1:m", "inet:[]:" + port + ":m", "inet:1.2.3:1:m", "inet:[x]y:1:m", "inet:x::m",
	}, func(name string) { clienttest.Compare(t, dir, "", "-q", "ok", "socketmap:"+name) })
}

// A server that ends the connection after each reply.
func TestReconnectSameAsPostfix(t *testing.T) {
	dir := clienttest.Config(t)
	s := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) {
		if _, err := readNetstring(bufio.NewReader(c), 1000); err == nil {
			io.WriteString(c, "6:OK val,")
		}
	})
	clienttest.Compare(t, dir, "a\nb\nc\n", "-q", "-", "socketmap:inet:"+s.Addr+":m")
}
