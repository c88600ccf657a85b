//go:build interop

package tcp

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

// TestSameAsPostfix: for every kind of reply and of server our postmap and the
// real one say the same and end the same.
func TestSameAsPostfix(t *testing.T) {
	s := clienttest.Serve(t, "tcp", serve)
	once := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) {
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			io.WriteString(c, "200 val\n")
		}
	})
	_, port, _ := net.SplitHostPort(s.Addr)
	dir := clienttest.Config(t)
	spec := "tcp:" + s.Addr
	type run struct {
		stdin string
		args  []string
	}
	var runs []run
	for _, key := range slices.Concat(slices.Collect(maps.Keys(replies)), slices.Collect(maps.Keys(lost)), []string{"a b%cé", "a\x01\x7fé+=~\"", "OK"}) {
		runs = append(runs, run{"", []string{"-q", key, spec}})
	}
	for _, place := range []string{clienttest.Free(t), "foo", "127.0.0.1:nosuch", "nohost.invalid:99", "/none", "unix:/none", "localhost:" + port,
		port, "127.0.0.1:1:2", "[127.0.0.1]:" + port, ":" + port, "1.2.3:4", "[x"} {
		runs = append(runs, run{"", []string{"-q", "ok", "tcp:" + place}})
	}
	runs = append(runs,
		run{"ok\nnf\n\nok\nOK\na b%c\u00e9\nemptyval\n\x80\n" + strings.Repeat("k", 100000) + "\nok\n", []string{"-q", "-", spec}},
		run{"ok\nerr\nok\n", []string{"-q", "-", spec}},
		run{"", []string{"-d", "ok", spec}}, run{"", []string{"-s", spec}},
	)
	clienttest.Each(runs, func(r run) { clienttest.Compare(t, dir, r.stdin, r.args...) })

	// A server that ends the connection after each reply: Postfix asks over the
	// dead connection, warns and waits; ours sees that it is dead.
	ours, theirs := clienttest.Both(t, dir, "ok\nok\nok\n", "-q", "-", "tcp:"+once.Addr)
	if ours.Stdout != theirs.Stdout || ours.Status != theirs.Status || strings.Count(ours.Stderr, "\n") > strings.Count(theirs.Stderr, "\n") {
		t.Errorf("one request a connection: ours %+v, real %+v", ours, theirs)
	}
}
