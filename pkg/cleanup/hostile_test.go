package cleanup

import (
	"strings"
	"testing"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/table"
)

// breaking is a table whose values have line breaks.
type breaking struct{}

func (breaking) Lookup(key string) (string, bool, error) {
	return "PREPEND X-One: 1\nX-Two: 2", strings.HasPrefix(key, "Subject:"), nil
}
func (breaking) Name() string  { return "breaking:x" }
func (breaking) Fixed() bool   { return false }
func (breaking) Changed() bool { return false }
func (breaking) Close() error  { return nil }

func init() {
	table.Register("breaking", table.Type{Open: func(string, string, table.Options) (table.Table, error) { return breaking{}, nil }})
}

func replaced(old, new string) []rec {
	all := recs(standard)
	for i, r := range all {
		if string(r) == old {
			all[i] = rec(new)
		}
	}
	return all
}

// No record of the envelope brings a line break or a null byte into the queue.
func TestLineBreaksInEnvelope(t *testing.T) {
	input := append([]rec{
		"T 1700000000 1", "F Full\nName", "A log_helo_name=x\nS forged@x", "S send\ner@a.test", "A dsn_orig_rcpt=rfc822;a\rb", "O or\nig@b.test", "R rc\x00pt@b.test",
	}, recs(standard)[4:]...)
	input = append(input[:len(input)-1], "A notify_flags=1", "A dsn_orig_rcpt=rfc822;c\nd", "R l\nate@b.test", "E")
	status, _, file := send(t, newEngine(t), 0, input)
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{"F Full?Name\n", "A log_helo_name=x?S forged@x\n", "S send?er@a.test\n", "A dsn_orig_rcpt=rfc822;a?b\n", "R rc?pt@b.test\n", "R l?ate@b.test\n"} {
		if !strings.Contains("\n"+file, "\n"+want) {
			t.Errorf("no %q in\n%s", want, file)
		}
	}
	if strings.ContainsAny(file, "\r\x00") {
		t.Errorf("file\n%q", file)
	}
}

// A null byte in a header keeps no mail from being accepted, and is kept.
func TestNullByteInHeader(t *testing.T) {
	status, _, file := send(t, newEngine(t), 0, replaced("N Subject: hi", "N From: a\x00b, c@d"))
	if status != 0 || !strings.Contains(file, "N From: a\x00b, c@d\n") {
		t.Errorf("status %d\n%q", status, file)
	}
}

// A table cannot smuggle a second header in.
func TestLineBreakInCheckResult(t *testing.T) {
	status, _, file := send(t, newEngine(t, "header_checks = breaking:x"), cleanupclient.Filter, recs(standard))
	if status != cleanupclient.Write || file != "" {
		t.Errorf("status %d\n%s", status, file)
	}
}
