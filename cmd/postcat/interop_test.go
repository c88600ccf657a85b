//go:build interop

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"suffix/pkg/record"
)

var optionSets = []string{"", "-b", "-h", "-e", "-bh", "-be", "-he", "-bhe", "-v", "-vr", "-r", "-o", "-d", "-od", "-ovd", "-bv", "-hv", "-bov", "-evr", "-s97", "-vs97", "-os745"}

// same compares what both programs show of files.
func same(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("/usr/sbin/postcat", args...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	var want, wantErr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &want, &wantErr
	realFailed := cmd.Run() != nil
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got, log, err := postcat(t, "", args...)
	t.Chdir(wd)
	if got != want.String() || (err != nil) != realFailed {
		t.Errorf("postcat %v: %v %q\n%s\nPostfix: %v %s\n%s", args, err, log, got, realFailed, wantErr.String(), want.String())
	}
}

// randomFile makes a file of allowed records in any order.
func randomFile(r *rand.Rand) []byte {
	var f []byte
	f = record.AppendTime(f, 1795359239, 1)
	for range r.IntN(30) {
		typ := []byte("CTFSRROADWKNNNLLwpiVMX")[r.IntN(22)]
		data := []string{"", "a@b", "x=y", " a = b ", "Name: v", "\tfold", "create_time=1795359239", "12345", "text \xff\x01"}[r.IntN(9)]
		switch record.Type(typ) {
		case record.Pointer:
			f = record.AppendNumber(f, record.Pointer, int64(r.IntN(2)*(len(f)+17)), 15)
		case record.Size:
			f = record.AppendSizes(f, record.Sizes{Segment: 30, Offset: int64(len(f) + 97), Recipients: 1, Content: 30})
		case record.Attr:
			f = record.Append(f, record.Attr, "name="+data)
		default:
			f = record.Append(f, record.Type(typ), data)
		}
	}
	return record.Append(f, record.End, "")
}

func TestSameAsPostfix(t *testing.T) {
	setup(t)
	t.Chdir(t.TempDir())
	files := map[string][]byte{"sub": submission(), "edited": edited(t)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 8 {
		files[fmt.Sprintf("random%d", i)] = randomFile(r)
	}
	for name, content := range files {
		if err := os.WriteFile(name, content, 0600); err != nil {
			t.Fatal(err)
		}
		for _, option := range optionSets {
			same(t, append(strings.Fields(option), name)...)
		}
	}
}

// Records that we write go through Postfix's postdrop; the file that it makes
// is read by both.
func TestPostdrop(t *testing.T) {
	_, queueDir := setup(t, "mail_owner = postfix", "setgid_group = postdrop", "myhostname = mx.example.test")
	t.Chdir(queueDir)
	for _, name := range []string{"maildrop", "public", "pid"} {
		if err := os.Mkdir(filepath.Join(queueDir, name), 0777); err != nil {
			t.Fatal(err)
		}
	}
	var in []byte
	put := func(typ record.Type, data string) { in = record.Append(in, typ, data) }
	in = record.AppendAttr(in, "rewrite_context", "local")
	put(record.FullName, "Alice Full")
	put(record.Sender, "alice@example.com")
	in = record.AppendAttr(in, "encoding", "8bit")
	put(record.Recipient, "bob@defer.test")
	put(record.Content, "")
	put(record.Text, "Subject: test")
	put(record.Text, "")
	in = record.AppendText(in, strings.Repeat("long line ", 500), 2048, record.Text)
	in = record.AppendText(in, "no end", 2048, record.Fragment)
	put(record.Extracted, "")
	put(record.End, "")
	cmd := exec.Command("/usr/sbin/postdrop", "-r")
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	_, rest, ok := strings.Cut(string(out), "queue_id\x00")
	id, _, _ := strings.Cut(rest, "\x00")
	if err != nil || !ok {
		t.Fatalf("postdrop: %v %q", err, out)
	}
	for _, option := range optionSets {
		same(t, append(strings.Fields(option), "-q", id)...)
	}
	file, err := os.ReadFile(filepath.Join(queueDir, "maildrop", id))
	if err != nil || !bytes.HasSuffix(file, in) {
		t.Errorf("%v: the file does not end in the records sent", err)
	}
}
