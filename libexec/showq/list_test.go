package showq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/queue"
	"suffix/pkg/record"
)

// put writes a queue file; fields are type letter and payload in turn.
func put(t *testing.T, path string, mode os.FileMode, fields ...string) {
	t.Helper()
	var buf []byte
	for i := 0; i+1 < len(fields); i += 2 {
		buf = record.Append(buf, record.Type(fields[i][0]), fields[i+1])
	}
	text(t, path, mode, string(buf))
}

func text(t *testing.T, path string, mode os.FileMode, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1795359239, 0)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

func setup(t *testing.T) *lister {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range append([]string{"defer", "bounce"}, queues...) {
		if err := os.Mkdir(name, 0700); err != nil {
			t.Fatal(err)
		}
	}
	return &lister{tree: &queue.Tree{Hashed: []string{"deferred", "defer"}, Depth: 1}, nobody: "MAILER-DAEMON", limit: 1000}
}

// listing returns the stream without the greeting, one line per message, with
// spaces for the ends of strings.
func listing(t *testing.T, l *lister) string {
	t.Helper()
	var out bytes.Buffer
	if err := l.list(context.Background(), attr.NewWriter(&out, attr.Null)); err != nil {
		t.Fatal(err)
	}
	stream, ok := strings.CutPrefix(out.String(), "protocol\x00mail_queue_list_protocol\x00\x00")
	if !ok {
		t.Fatalf("no greeting: %q", out.String())
	}
	stream, ok = strings.CutSuffix(stream, "\x00")
	if !ok {
		t.Fatalf("no end: %q", stream)
	}
	stream = strings.ReplaceAll(stream, "\x00\x00queue_name\x00", "\x00\x00\nqueue_name\x00")
	return strings.ReplaceAll(stream, "\x00", "|")
}

const deferLog = `
<tmp@rej.test>: busy
recipient=tmp@rej.test
original_recipient=t@o
reason=busy


recipient=<>
reason=away

`

func TestOneMessage(t *testing.T) {
	l := setup(t)
	put(t, "active/863F1990131", 0710, "C", "12 9999 1 0 12 0", "T", "1795359222 5", "S", "", "O", "tmp@rej.test", "R", "tmp@rej.test",
		"O", "carol@orig", "R", "carol@hang.test", "O", "d", "D", "done@x", "O", "c", "/", "canceled@x", "R", "odd user@hang.test", "R", "",
		"M", "", "N", "Subject: x", "X", "", "R", "extra@x", "E", "")
	text(t, "defer/8/863F1990131", 0600, deferLog)
	text(t, "bounce/863F1990131", 0600, "\nrecipient=b@rej.test\nreason=gone\n\n")
	head := "queue_name|active|queue_id|863F1990131|time|1795359222|size|12|forced_expire|1|sender|MAILER-DAEMON|"
	want := head +
		"original_recipient|t@o|recipient|tmp@rej.test|log_class|defer|reason|busy|" +
		"original_recipient||recipient|<>|log_class|defer|reason|away|" +
		"original_recipient||recipient|b@rej.test|log_class|bounce|reason|gone|" +
		"original_recipient|carol@orig|recipient|carol@hang.test|log_class||reason||" +
		`original_recipient|"odd user"@hang.test|recipient|"odd user"@hang.test|log_class||reason||` +
		"original_recipient|MAILER-DAEMON|recipient|MAILER-DAEMON|log_class||reason||" +
		"original_recipient|extra@x|recipient|extra@x|log_class||reason|||"
	if got := listing(t, l); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	l.dialect37 = true
	want = head + "recipient|tmp@rej.test|reason|busy|recipient|<>|reason|away|recipient|carol@hang.test|reason||" +
		`recipient|"odd user"@hang.test|reason||recipient|MAILER-DAEMON|reason||recipient|extra@x|reason|||`
	if got := listing(t, l); got != want {
		t.Errorf("3.7: got\n%s\nwant\n%s", got, want)
	}
}

// The content is skipped where the size record is right about it.
func TestContentSkipped(t *testing.T) {
	l := setup(t)
	head := record.AppendSizes(nil, record.Sizes{})
	head = record.Append(head, record.Time, "3")
	head = record.Append(head, record.Sender, "s@b")
	head = record.Append(head, record.Content, "")
	garbage := "\xff\xff\xff\xff\xff"
	file := record.AppendSizes(nil, record.Sizes{Segment: int64(len(garbage)), Offset: int64(len(head))})
	file = append(file, head[len(file):]...)
	file = append(file, garbage...)
	file = append(file, "X\x00R\x03r@bE\x00"...)
	text(t, "hold/A1", 0700, string(file))
	want := "queue_name|hold|queue_id|A1|time|3|size|5|forced_expire|0|sender|s@b|original_recipient|r@b|recipient|r@b|log_class||reason|||"
	if got := listing(t, l); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDuplicateLimit(t *testing.T) {
	l := setup(t)
	l.limit = 1
	put(t, "active/A1", 0700, "T", "1", "S", "s", "R", "a", "R", "b", "M", "", "X", "", "E", "")
	text(t, "defer/A/A1", 0600, "\nrecipient=a\nreason=1\n\n\nrecipient=b\nreason=2\n\n")
	if got := listing(t, l); strings.Count(got, "|a|") != 1 || strings.Count(got, "|b|") != 3 {
		t.Errorf("with one address remembered, b is listed twice and a once: got %s", got)
	}
}

// Each of these files is listed, or not, without disturbing the others.
func TestOddFiles(t *testing.T) {
	const end = "original_recipient|r@b|recipient|r@b|log_class||reason|||"
	entry := func(queueName, id string, when, size int) string {
		return fmt.Sprintf("queue_name|%s|queue_id|%s|time|%d|size|%d|forced_expire|0|sender|s@b|", queueName, id, when, size)
	}
	rest := []string{"M", "", "X", "", "E", ""}
	with := func(fields ...string) []string { return append(fields, rest...) }
	for _, c := range []struct {
		name, path string
		mode       os.FileMode
		fields     []string
		want       string
	}{
		{"no time", "incoming/A1", 0700, with("S", "s@b", "R", "r@b"), entry("incoming", "A1", 1795359239, 16) + end},
		{"maildrop ignores size", "maildrop/A1", 0744, with("C", "5 6 7", "T", "3", "S", "s@b", "R", "r@b"), entry("maildrop", "A1", 3, 26) + end},
		{"bad size", "hold/A1", 0700, with("C", "x 5", "T", "3", "S", "s@b", "R", "r@b"), entry("hold", "A1", 3, 24) + end},
		{"negative size", "hold/A1", 0700, with("C", "-5 -5 -5", "T", "3", "S", "s@b", "R", "r@b"), entry("hold", "A1", 3, 29) + end},
		{"two senders", "hold/A1", 0700, with("T", "3", "S", "s@b", "R", "r@b", "S", "t@b", "R", "q@b"), entry("hold", "A1", 3, 29) + end},
		{"recipient first", "hold/A1", 0700, with("T", "3", "R", "r@b", "S", "s@b"), ""},
		{"no sender", "hold/A1", 0700, with("T", "3"), ""},
		{"incomplete", "hold/A1", 0600, with("T", "3", "S", "s@b", "R", "r@b"), ""},
		{"no end", "hold/A1", 0700, []string{"T", "3", "S", "s@b", "R", "r@b", "R"}, entry("hold", "A1", 3, 13) + end},
		{"no ID", "hold/A.1", 0700, with("T", "3", "S", "s@b", "R", "r@b"), ""},
	} {
		l := setup(t)
		put(t, c.path, c.mode, c.fields...)
		put(t, "hold/Z9", 0700, with("T", "3", "S", "s@b", "R", "r@b")...)
		last := entry("hold", "Z9", 3, 19) + end
		got := listing(t, l)
		others := strings.Trim(strings.Replace(got, last, "", 1), "\n")
		if !strings.Contains(got, last) || others != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s and\n%s", c.name, got, c.want, last)
		}
	}
}

func TestQueueOrder(t *testing.T) {
	l := setup(t)
	for i := len(queues) - 1; i >= 0; i-- {
		put(t, l.tree.Path(queues[i], fmt.Sprintf("A%d", i)), 0700, "T", "3", "S", "s@b", "M", "", "X", "", "E", "")
	}
	got := listing(t, l)
	at := -1
	for _, name := range queues {
		i := strings.Index(got, "queue_name|"+name+"|")
		if i <= at {
			t.Errorf("%s is missing or too early in\n%s", name, got)
		}
		at = i
	}
}

var errGone = errors.New("gone")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errGone }

func TestClientGone(t *testing.T) {
	l := setup(t)
	put(t, "hold/A1", 0700, "T", "3", "S", "s@b")
	if err := l.list(context.Background(), attr.NewWriter(broken{}, attr.Null)); !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
}
