package bouncelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/queue"
)

const deferLog = `
<tmp@rej.test>: host 127.0.0.1[127.0.0.1] said: 450 4.2.1 mailbox busy (in reply to RCPT TO command)
recipient=tmp@rej.test
offset=824
dsn_orig_rcpt=rfc822;tmp@rej.test
status=4.2.1
action=delayed
diag_type=smtp
diag_text=450 4.2.1 mailbox busy
mta_type=dns
mta_mname=127.0.0.1
reason=host 127.0.0.1[127.0.0.1] said: 450 4.2.1 mailbox busy (in reply to RCPT TO command)

`

const bounceEntry = `
<"odd user"@rej.test>: no ?such user
recipient="odd user"@rej.test
original_recipient="other user"@rej.test
notify_flags=4
status=5.1.1
action=failed
reason=no ?such user

`

var deferEntry = Entry{Original: "TMP@rej.test", Recipient: "tmp@rej.test", Offset: 824, DSNOrig: "rfc822;tmp@rej.test",
	Status: "4.2.1", Action: "delayed", DiagType: "smtp", DiagText: "450 4.2.1 mailbox busy", MTAType: "dns", MTAName: "127.0.0.1",
	Reason: "host 127.0.0.1[127.0.0.1] said: 450 4.2.1 mailbox busy (in reply to RCPT TO command)"}

func inTree(t *testing.T) *queue.Tree {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range []string{"defer", "bounce", "trace"} {
		if err := os.Mkdir(name, 0700); err != nil {
			t.Fatal(err)
		}
	}
	return &queue.Tree{Hashed: []string{"defer"}, Depth: 1}
}

var options = Options{Compat: true, LockAttempts: 2, LockDelay: time.Millisecond}

func TestAppend(t *testing.T) {
	tree := inTree(t)
	ctx := context.Background()
	for range 2 {
		if err := Append(ctx, tree, "defer", "863F1990131", &deferEntry, options); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("defer/8/863F1990131")
	if err != nil || string(got) != deferLog+deferLog {
		t.Errorf("got %v\n%s", err, got)
	}
	if st, err := os.Stat("defer/8/863F1990131"); err != nil || st.Mode() != 0600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	e := Entry{Original: "other user@rej.test", Recipient: "odd user@rej.test", Notify: 4, Status: "5.1.1", Action: "failed",
		DiagType: "smtp", MTAName: "host", Reason: "no \nsuch user"}
	if err := Append(ctx, tree, "bounce", "863F1990131", &e, options); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile("bounce/863F1990131"); string(got) != bounceEntry {
		t.Errorf("got\n%s", got)
	}
	if got := (&Entry{Reason: "r"}).AppendTo(nil, true); string(got) != "\n<>: r\nrecipient=<>\nreason=r\n\n" {
		t.Errorf("empty recipient: %q", got)
	}
	if got := (&Entry{Recipient: "a@b", Reason: "r"}).AppendTo(nil, false); string(got) != "\nrecipient=a@b\nreason=r\n\n" {
		t.Errorf("without compatibility: %q", got)
	}
}

// A log that is removed while somebody waits for its lock does not take the
// entry with it.
func TestAppendToRemovedLog(t *testing.T) {
	tree := inTree(t)
	if err := Append(context.Background(), tree, "bounce", "ABC", &deferEntry, options); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("bounce/ABC")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() {
		result <- Append(ctx, tree, "bounce", "ABC", &Entry{Recipient: "late@x", Reason: "second"}, Options{LockAttempts: 1 << 20, LockDelay: time.Millisecond})
	}()
	for open := 0; open < 2 && ctx.Err() == nil; {
		open = 0
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if other, err := os.Stat("/proc/self/fd/" + fd.Name()); err == nil && os.SameFile(info, other) {
				open++
			}
		}
	}
	if err := os.Remove("bounce/ABC"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if log, err := os.ReadFile("bounce/ABC"); err != nil || !strings.Contains(string(log), "late@x") {
		t.Errorf("%q %v", log, err)
	}
}

func TestAppendErrors(t *testing.T) {
	tree := inTree(t)
	ctx := context.Background()
	if err := os.Mkdir("bounce/AAAAA1", 0700); err != nil {
		t.Fatal(err)
	}
	if err := Append(ctx, tree, "bounce", "AAAAA1", &deferEntry, options); err == nil || err.Error() != "open file bounce AAAAA1: Is a directory" {
		t.Errorf("got %v", err)
	}
	f, err := os.Create("bounce/AAAAA2")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := Append(ctx, tree, "bounce", "AAAAA2", &deferEntry, options); err == nil || err.Error() != "lock file bounce AAAAA2: Resource temporarily unavailable" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if err := Append(ctx, tree, "bounce", "AAAAA2", &deferEntry, Options{LockAttempts: 1000, LockDelay: time.Hour}); err == nil {
		t.Error("canceled wait for the lock succeeded")
	}
}

func read(t *testing.T, queueName, text string) (entries []Entry, warnings []string) {
	t.Helper()
	r := NewReader(strings.NewReader(text), queueName, "PATH", func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf(format, args...))
	})
	for {
		var e Entry
		err := r.Next(&e)
		if err == io.EOF {
			return entries, warnings
		}
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
}

func TestRead(t *testing.T) {
	stored := deferEntry
	stored.Original = ""
	unknown := Entry{Recipient: "(recipient address unavailable)", Status: "5.0.0", Action: "failed", Reason: "(description unavailable)"}
	with := func(change func(*Entry)) Entry {
		e := unknown
		change(&e)
		return e
	}
	for _, c := range []struct {
		name, queue, in string
		want            []Entry
		warnings        []string
	}{
		{"two entries", "defer", deferLog + deferLog, []Entry{stored, stored}, nil},
		{"old style", "bounce", "\n<a@b>: gone\n\n", []Entry{with(func(e *Entry) { e.Recipient, e.Reason = "a@b", "gone" })}, nil},
		{"old style, nobody", "bounce", "<>: gone\n\n", []Entry{with(func(e *Entry) { e.Recipient, e.Reason = "(MAILER-DAEMON)", "gone" })}, nil},
		{"defaults of defer", "defer", "recipient=a\n\n", []Entry{with(func(e *Entry) { e.Recipient, e.Status, e.Action = "a", "4.0.0", "delayed" })}, nil},
		{"empty recipient", "bounce", "recipient=\noriginal_recipient=\n\n", []Entry{with(func(e *Entry) { e.Recipient, e.Original = "(MAILER-DAEMON)", "(MAILER-DAEMON)" })}, nil},
		{"null recipient", "bounce", "<>: x\nrecipient=<>\n\n", []Entry{with(func(e *Entry) { e.Recipient, e.Reason = "<>", "x" })}, nil},
		{"no end", "bounce", "recipient=a\nreason=b\n", nil, nil},
		{"no line end", "bounce", "recipient=a\n\nrecipient=b", []Entry{with(func(e *Entry) { e.Recipient = "a" })}, nil},
		{"controls", "bounce", "recipient=a\r\nreason=\x00\n\n", []Entry{with(func(e *Entry) { e.Recipient, e.Reason = "a?", "?" })}, nil},
		{"odd lines", "bounce", "what\n?x\n<a\ncolor=red\nrecipient=a\n\n", []Entry{with(func(e *Entry) { e.Recipient = "a" })}, []string{
			"PATH: malformed record: missing '=' after attribute name", "PATH: malformed record: ?x...", "PATH: malformed record: <a...",
			"PATH: unknown attribute name: color, ignored"}},
		{"bad numbers", "bounce", "offset=x\nnotify_flags=-\noffset=-5\n\n", []Entry{unknown}, nil},
	} {
		entries, warnings := read(t, c.queue, c.in)
		if fmt.Sprintf("%+v", entries) != fmt.Sprintf("%+v", c.want) || fmt.Sprint(warnings) != fmt.Sprint(c.warnings) {
			t.Errorf("%s: got %+v %q, want %+v %q", c.name, entries, warnings, c.want, c.warnings)
		}
	}
}

func TestOpen(t *testing.T) {
	tree := inTree(t)
	if _, err := Open(tree, "defer", "AAAAA1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := Append(context.Background(), tree, "defer", "AAAAA1", &deferEntry, options); err != nil {
		t.Fatal(err)
	}
	r, err := Open(tree, "defer", "AAAAA1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var e Entry
	if err := r.Next(&e); err != nil || e.Recipient != "tmp@rej.test" || e.Offset != 824 {
		t.Errorf("got %+v %v", e, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(deferLog))
	f.Add([]byte(bounceEntry))
	f.Add([]byte("<a\n>: \n=\n\n\n<>: x\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		entries, _ := read(t, "bounce", string(in))
		if len(entries) > len(in) {
			t.Fatal("more entries than bytes")
		}
		for _, e := range entries {
			if e.Recipient == "" || e.Reason == "" || strings.ContainsAny(e.Recipient+e.Reason+e.DiagText, "\x00\r\n") {
				t.Fatalf("bad entry %+v", e)
			}
		}
	})
}
