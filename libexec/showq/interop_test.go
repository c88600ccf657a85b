//go:build interop

package showq

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/attr"
	"suffix/pkg/bouncelog"
	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/record"
)

// submitMessage makes a message with the writers of the queue, record and
// bouncelog packages.
func submitMessage(t *testing.T, tree *queue.Tree, queueName string, n int) {
	t.Helper()
	ctx := context.Background()
	f, id, _, err := tree.Create(ctx, queueName, queue.ModeEmbryo)
	if err != nil {
		t.Fatal(err)
	}
	buf := record.AppendSizes(nil, record.Sizes{})
	buf = record.AppendTime(buf, 1795359000+int64(n), 5)
	buf = record.Append(buf, record.Sender, []string{"", "alice@example.com", "odd user@x"}[n%3])
	var offsets []int64
	for i := range n {
		buf = record.Append(buf, record.OrigRecipient, fmt.Sprintf("orig%d@x", i))
		offsets = append(offsets, int64(len(buf)))
		buf = record.Append(buf, record.Recipient, fmt.Sprintf("rcpt %d@x", i))
	}
	buf = record.Append(buf, record.Content, "")
	start := len(buf)
	buf = record.AppendText(buf, strings.Repeat("line ", 1000), 2048, record.Text)
	sizes := record.Sizes{Segment: int64(len(buf) - start), Offset: int64(start), Recipients: n, Content: int64(len(buf) - start)}
	buf = record.Append(buf, record.Extracted, "")
	buf = record.Append(buf, record.Recipient, "extracted@x")
	buf = record.Append(buf, record.End, "")
	copy(buf, record.AppendSizes(nil, sizes))
	if _, err := f.Write(buf); err != nil {
		t.Fatal(err)
	}
	for i, offset := range offsets {
		e := bouncelog.Entry{Original: fmt.Sprintf("orig%d@x", i), Recipient: fmt.Sprintf("rcpt %d@x", i), Offset: offset,
			Status: "4.2.1", Action: "delayed", Reason: fmt.Sprintf("reason\n%d é", i)}
		switch i % 3 {
		case 0:
			err = bouncelog.Append(ctx, tree, queue.Defer, id, &e, bouncelog.Options{Compat: i%2 == 0, LockAttempts: 1, LockDelay: time.Second})
		case 1:
			err = record.MarkDone(f, offset)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Finish(f, queueName, queue.ModeExpire*os.FileMode(n%2)); err != nil {
		t.Fatal(err)
	}
}

// Postfix's showq lists a queue that we made as ours does.
func TestSameAsPostfix(t *testing.T) {
	l := setup(t)
	l.dialect37 = true
	maillog.SetUTF8(true)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, long := range []bool{false, true} {
		l.tree.LongIDs = long
		for n, name := range queues {
			submitMessage(t, l.tree, name, n+1)
			submitMessage(t, l.tree, name, 2*n)
		}
	}
	owner, err := account.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(path, owner.UID, owner.GID)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	confDir := t.TempDir()
	for d := confDir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(dir), 0755); err != nil {
		t.Fatal(err)
	}
	text := "compatibility_level = 3.6\nqueue_directory = " + dir + "\nmyhostname = mx.example.test\n"
	if err := os.WriteFile(confDir+"/main.cf", []byte(text), 0644); err != nil {
		t.Fatal(err)
	}
	// A file that was just edited would be read again and again for a while.
	if err := os.Chtimes(confDir+"/main.cf", time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/lib/postfix/sbin/showq", "-u", "-S")
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+confDir)
	want, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := l.list(context.Background(), attr.NewWriter(&got, attr.Null)); err != nil {
		t.Fatal(err)
	}
	entries := func(stream []byte) []string {
		return slices.Sorted(slices.Values(strings.Split(string(stream), "\x00queue_name\x00")))
	}
	if g, w := entries(got.Bytes()), entries(want); len(w) != 21 || !slices.Equal(g, w) {
		t.Errorf("got %d messages\n%q\nPostfix lists %d\n%q", len(g)-1, g, len(w)-1, w)
	}
}
