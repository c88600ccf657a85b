package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"suffix/test/e2e/peer"
)

// plant puts a file into a queue, owned as the mail system's files are.
func (s *system) plant(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	full := filepath.Join(s.Queue(), path)
	must(t, os.MkdirAll(filepath.Dir(full), 0o700))
	temporary := filepath.Join(s.Queue(), "pid", "planted")
	must(t, os.WriteFile(temporary, content, 0o600))
	if os.Getuid() == 0 {
		must(t, os.Chown(filepath.Dir(full), s.Owner.UID, -1))
		must(t, os.Chown(temporary, s.Owner.UID, s.Owner.GID))
	}
	must(t, os.Chmod(temporary, mode))
	// The file appears as a whole.
	must(t, os.Rename(temporary, full))
}

// TestDamagedQueueFiles plants files in the queues that are no messages. They
// must be saved in corrupt, and the messages beside them delivered.
func TestDamagedQueueFiles(t *testing.T) {
	t.Parallel()
	sink := newSink(t, peer.SinkOptions{Reply: func(verb, argument string) string {
		if verb == "RCPT" && strings.Contains(argument, "model") {
			return "450 4.2.1 busy"
		}
		return ""
	}})
	s := start(t, plan{main: map[string]string{"transport_maps": "inline:{relay.test=smtp:" + sink.NextHop() + "}", "queue_run_delay": "1000s", "hash_queue_names": "deferred, defer"}})
	// A real message is the model.
	id := s.send(t, "damage@client.test", "model@relay.test", plain("damage@client.test", "model", "the model's text"))
	s.awaitQueued(t, id, "deferred")
	model, err := os.ReadFile(filepath.Join(s.Queue(), s.queueFile(id)))
	must(t, err)
	if !bytes.HasPrefix(model, []byte("C_")) || !bytes.HasSuffix(model, []byte("E\x00")) {
		t.Fatalf("a message file is %q", model)
	}
	random := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(random.IntN(256))
	}
	noise[0] = 0xee
	edit := func(old, new string) []byte {
		t.Helper()
		edited := bytes.Replace(model, []byte(old), []byte(new), 1)
		if bytes.Equal(edited, model) {
			t.Fatalf("the model has no %q", old)
		}
		return edited
	}
	const sizeRecord = 97
	files := []struct {
		name    string
		content []byte
		want    string // in the log, with ID in the place of the queue ID
	}{
		{"noise", noise, `ID: message rejected: missing end record|Unexpected record type`},
		{"empty", nil, `ID: message rejected: missing end record`},
		{"half", model[:len(model)/2], `ID: message rejected: missing end record`},
		{"no end", model[:len(model)-2], `ID: message rejected: missing end record`},
		{"no size", model[sizeRecord:], `ID: message rejected: missing size record|Unexpected record type 'N'`},
		{"no time", append(append(slices.Clone(model[:sizeRecord]), 'F'), model[sizeRecord+1:]...), `ID: message rejected: missing arrival time record`},
		{"words for size", append([]byte(record('C', "no size at all")), model[sizeRecord:]...), `ID: message rejected: weird size record`},
		{"zero size", append([]byte(record('C', "0 0 1 0 0 0")), model[sizeRecord:]...), `ID: invalid size record: 0 0 1 0 0 0`},
		{"flags", append([]byte(record('C', "10 10 1 999 10 0")), model[sizeRecord:]...), `ID: invalid flags in size record: 10 10 1 999 10 0`},
		{"huge size", append([]byte(record('C', "999999999 999999999 1 0 999999999 0")), model[sizeRecord:]...), `ID: message rejected: missing end record|illegal|Unexpected record type`},
		{"unknown type", edit("S\x12damage@client.test", "~\x12damage@client.test"), `Unexpected record type '~' at offset \d+`},
		{"long length", edit("S\x12damage@client.test", "S\xff\xff\xff\xff\xff\xff\x7fmage@client"), `too many length bits, record type 83`},
		{"beyond the end", edit("S\x12damage@client.test", "S\xff\xff\xff\x7f\x00\x00\x00ge@client.test"), `unexpected EOF in data, record type 83 length \d+`},
		{"loop", edit("S\x12damage@client.test", "p\x12                 0"+"S\x00")[:sizeRecord+200], `message rejected|reverse jump|missing`},
		{"no attribute", edit("A\x15rewrite_context=local", "A\x15rewrite_context.local"), `ID: bad attribute record: missing '=' after attribute name: rewrite_context\.local`},
	}
	ids := make([]string, len(files))
	for i, f := range files {
		// Half of them in each of two queues.
		ids[i] = fmt.Sprintf("DEAD%X%05X", i, i)
		path := "incoming/" + ids[i]
		if i%2 == 1 {
			path = "deferred/" + ids[i][:1] + "/" + ids[i]
		}
		s.plant(t, path, f.content, 0o700)
	}
	// What is no complete message stays, and nobody minds.
	s.plant(t, "incoming/FEED000001", model, 0o600)
	s.plant(t, "incoming/bad.name", model, 0o700)
	must(t, os.Symlink("../corrupt", filepath.Join(s.Queue(), "incoming", "FEED000002")))
	must(t, os.Mkdir(filepath.Join(s.Queue(), "incoming", "FEED000003"), 0o700))
	// A copy of the model for another recipient is a message like others.
	good := bytes.ReplaceAll(model, []byte("model@relay.test"), []byte("valid@relay.test"))
	s.plant(t, "deferred/D/DEADF0000F", good, 0o700)

	s.command(t, "", "postqueue", "-f")
	s.awaitSink(t, sink, "valid@relay.test")
	for i, f := range files {
		s.awaitLog(t, `qmgr\[\d+\]: warning: saving corrupt file "`+ids[i]+`" from queue "active" to queue "corrupt"`)
		pattern := regexp.MustCompile(`qmgr\[\d+\]: warning: .*(` + strings.ReplaceAll(f.want, "ID", ids[i]) + ")")
		if !pattern.MatchString(strings.Join(s.logLines(t, "qmgr["), "\n")) {
			t.Errorf("%s: no log record %s", f.name, pattern)
		}
		content, err := os.ReadFile(filepath.Join(s.Queue(), "corrupt", ids[i]))
		if err != nil || !bytes.Equal(content, f.content) {
			t.Errorf("%s: the file has not been saved: %v", f.name, err)
		}
	}
	for _, name := range []string{"FEED000001", "bad.name", "FEED000002", "FEED000003"} {
		if _, err := os.Lstat(filepath.Join(s.Queue(), "incoming", name)); err != nil {
			t.Error(err)
		}
	}
	s.awaitLog(t, `qmgr\[\d+\]: warning: incoming/FEED00000[23]: uid \d+: not a regular file`)
	must(t, os.Remove(filepath.Join(s.Queue(), "incoming", "FEED000003")))

	// Content that is damaged is found by the agent.
	damaged := bytes.ReplaceAll(good, []byte("valid@relay.test"), []byte("dirty@relay.test"))
	damaged = bytes.Replace(damaged, []byte("N\x10the model's text"), []byte("~\x10the model's text"), 1)
	s.plant(t, "incoming/DEADF00010", damaged, 0o700)
	s.command(t, "", "postqueue", "-f")
	s.awaitLog(t, `smtp\[\d+\]: warning: corrupted queue file: active/DEADF00010`)
	s.awaitLog(t, `qmgr\[\d+\]: warning: saving corrupt file "DEADF00010" from queue "active" to queue "corrupt"`)
	s.send(t, "damage@client.test", "after@relay.test", plain("damage@client.test", "after", "text"))
	s.awaitSink(t, sink, "after@relay.test")
	for _, m := range sink.Messages() {
		if m.HasRcpt("dirty@relay.test") {
			t.Error("a damaged message was delivered")
		}
	}
	s.awaitQueued(t, id, "deferred")
	text, code := status(t, s.Command("postfix", "check"))
	if want := "warning: damaged message: corrupt/" + ids[0] + "\n"; code != 0 || !strings.Contains(text, want) {
		t.Errorf("postfix check: exit status %d, %q; want %q", code, text, want)
	}
}

// TestDamagedMaildrop plants files in maildrop, where any user may write.
func TestDamagedMaildrop(t *testing.T) {
	t.Parallel()
	s := start(t, plan{})
	to := "drop@" + virtualDomain
	head := record('T', "1795374056 1") + record('A', "rewrite_context=local") + record('S', "drop@client.test")
	body := record('M', "") + record('N', "Subject: x") + record('N', "") + record('N', "text")
	end := record('X', "") + record('E', "")
	uid := os.Getuid()
	if uid == 0 {
		uid = s.Owner.UID
	}
	removed := []struct{ name, content, want string }{
		{"D00D000001", "\xee\xee\xee\xee", fmt.Sprintf(`uid=%d: unexpected or malformed record type -2`, uid)},
		{"D00D000002", "", fmt.Sprintf(`uid=%d: unexpected or malformed record type -1`, uid)},
		{"D00D000003", head + record('R', to), fmt.Sprintf(`uid=%d: unexpected or malformed record type -1`, uid)},
		{"D00D000004", record('T', "1795374056 1") + record('R', to) + body + end, fmt.Sprintf(`uid=%d: no envelope sender`, uid)},
		{"D00D000005", head + record('R', to) + body + record('X', ""), fmt.Sprintf(`uid=%d: unexpected or malformed record type -1`, uid)},
		{"D00D000006", head + "\x00\x00" + record('R', to) + body + end, fmt.Sprintf(`uid=%d: unexpected or malformed record type 0`, uid)},
		{"D00D000007", head + "R\x81\x80\x80\x80\x08" + body + end, `too many length bits, record type 82`},
		{"D00D000008", head + record('R', strings.Repeat("x", 3000)) + body + end, `illegal length 3000, record type 82`},
		{"D00D000009", head + record('S', "second@client.test") + record('R', to) + body + end, `multiple envelope sender records`},
		{"D00D00000A", head + body + end, ``}, // nobody to send it to
		{"D00D00000B", head + record('R', to) + record('M', "") + record('R', "x") + end, fmt.Sprintf(`uid=%d: unexpected or malformed record type 82`, uid)},
	}
	for _, f := range removed {
		s.plant(t, "maildrop/"+f.name, []byte(f.content), 0o744)
	}
	s.plant(t, "maildrop/D00D00000F", []byte(head+record('R', to)+body+end), 0o644)
	must(t, os.Symlink("/etc/passwd", filepath.Join(s.Queue(), "maildrop", "D00D000010")))
	must(t, os.Mkdir(filepath.Join(s.Queue(), "maildrop", "D00D000011"), 0o700))
	// mailq reads these files too.
	if out := s.command(t, "", "mailq"); !strings.HasSuffix(out, "Requests.\n") && !strings.HasSuffix(out, "Mail queue is empty\n") && !strings.HasSuffix(out, "Request.\n") {
		t.Errorf("mailq prints\n%s", out)
	}
	s.submit(t, "Subject: good\n\nthe good one\n", "-f", "drop@client.test", to)
	if m := s.awaitMail(t, to); !strings.HasSuffix(m, "\n\nthe good one\n") {
		t.Errorf("the message is\n%s", m)
	}
	for _, f := range removed {
		must(t, poll("removal of "+f.name, func() (bool, error) {
			_, err := os.Lstat(filepath.Join(s.Queue(), "maildrop", f.name))
			return os.IsNotExist(err), nil
		}))
		s.awaitLog(t, regexp.QuoteMeta(f.want))
	}
	for _, name := range []string{"D00D00000F", "D00D000010", "D00D000011"} {
		if _, err := os.Lstat(filepath.Join(s.Queue(), "maildrop", name)); err != nil {
			t.Error(err)
		}
	}
	s.awaitLog(t, `pickup\[\d+\]: warning: maildrop/D00D00001[01]: uid \d+: not a regular file`)
	s.awaitEmpty(t)
}
