package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maps"
	"suffix/pkg/record"
)

// The test binary is postdrop when it is started by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == program {
		main()
	}
	os.Exit(m.Run())
}

// drop runs postdrop with records as input.
func runDrop(t *testing.T, settings string, input []byte) (stdout, stderr string, exit int, files []string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"maildrop", "public"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0700); err != nil {
			t.Fatal(err)
		}
	}
	main := fmt.Sprintf("compatibility_level = 3.6\nqueue_directory = %s\nmaillog_file = %[1]s/log\nmaillog_file_prefixes = %[1]s\nmyhostname = mx.test\n%s\n", dir, settings)
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(main), 0600); err != nil {
		t.Fatal(err)
	}
	// A file that was just changed is read again until it is quiet.
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "main.cf"), old, old); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-c", dir, "-r")
	cmd.Args[0] = program
	cmd.Stdin = bytes.NewReader(input)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	_ = cmd.Run() // the exit status is looked at
	names, _ := filepath.Glob(filepath.Join(dir, "maildrop", "*"))
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		info, _ := f.Stat()
		var b strings.Builder
		fmt.Fprintf(&b, "%o", info.Mode().Perm())
		r := record.NewFileReader(f, name)
		for {
			typ, data, err := r.Next()
			if err != nil {
				break
			}
			if typ == record.Time {
				data = []byte("now")
			}
			fmt.Fprintf(&b, "|%c %s", typ, data)
		}
		f.Close()
		files = append(files, b.String())
	}
	text := out.String()
	if parts := strings.SplitN(text, "\x00", 5); len(parts) == 5 {
		text = strings.Replace(text, parts[3], "ID", 1)
	}
	return text, errors.String(), cmd.ProcessState.ExitCode(), files
}

func build(items ...string) []byte {
	var b []byte
	for _, item := range items {
		b = record.Append(b, record.Type(item[0]), strings.TrimPrefix(item[1:], " "))
	}
	return b
}

const greeting = "protocol\x00postdrop_protocol\x00queue_id\x00ID\x00\x00"

func TestPostdrop(t *testing.T) {
	const noPickup = "postdrop: warning: unable to look up public/pickup: No such file or directory\n"
	ok := []string{"S a@b", "R c@d", "M", "N Subject: x", "L y", "X", "E"}
	with := func(first ...string) []byte { return build(append(first, ok...)...) }
	const okFile = "744|T now|S a@b|R c@d|M |N Subject: x|L y|X |E "
	const success = greeting + "status\x000\x00reason\x00\x00\x00"
	for _, c := range []struct {
		name, settings string
		input          []byte
		out, errors    string
		exit           int
		file           string
	}{
		{"message", "", with(), success, noPickup, 0, okFile},
		{"attributes", "", with("A foo=bar", "A noeq", "A encoding=8bit", "A encoding=9bit", "A rewrite_context = remote ", "A trace_flags=1024x", "A trace_flags=256"), success,
			"postdrop: warning: uid=UID: ignoring attribute record: foo=bar\n" +
				"postdrop: warning: uid=UID: ignoring malformed record: missing '=' after attribute name: noeq\n" +
				"postdrop: warning: uid=UID: ignoring attribute record: encoding=9bit\n" +
				"postdrop: warning: uid=UID: ignoring unexpected trace flags: 256\n" + noPickup, 0,
			"744|T now|A encoding=8bit|A rewrite_context=remote|A trace_flags=1024|S a@b|R c@d|M |N Subject: x|L y|X |E "},
		{"canceled", "", build("S a"), greeting, "", 0, ""},
		{"no recipient", "", build("S a", "M", "X", "E"), greeting + "status\x001\x00reason\x00\x00\x00", "", 1, "644|T now|S a|M |X |E "},
		{"wrong record", "", with("L x"), greeting, "postdrop: fatal: uid=UID: unexpected record type: 76\n", 1, ""},
		{"type 0", "", with("\x00x"), greeting, "postdrop: fatal: uid=UID: unexpected record type: 0\n", 1, ""},
		{"line break", "", build("S a\nFrom x"), greeting, "postdrop: fatal: uid=UID: null or line break in 'sender' record type: a?From x\n", 1, ""},
		{"null", "", build("S a", "R b\x00c"), greeting, "postdrop: fatal: uid=UID: null or line break in 'recipient' record type: b\n", 1, ""},
		{"length bits", "", []byte("T\x81\x80\x80\x80\x08"), greeting,
			"postdrop: warning: stdin: too many length bits, record type 84\npostdrop: fatal: uid=UID: malformed input\n", 1, ""},
		{"long record", "", build("S " + strings.Repeat("x", 3000)), greeting,
			"postdrop: warning: stdin: illegal length 3000, record type 83\npostdrop: fatal: uid=UID: malformed input\n", 1, ""},
		{"too big", "message_size_limit = 1000", build("S a", "R b", "M", "N "+strings.Repeat("x", 2000), "X", "E"),
			greeting + "status\x004\x00reason\x00\x00\x00", "postdrop: warning: uid=UID: File too large\n", 4, ""},
		{"not allowed", "authorized_submit_users =", with(), "", "postdrop: fatal: User USER(UID) is not allowed to submit mail\n", 1, ""},
		{"wrong sender", "local_login_sender_maps = static:other", with(), greeting + "status\x00512\x00reason\x00not authorized to use sender='a@b'\x00\x00", "", 0, "644|T now"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errors, exit, files := runDrop(t, c.settings, c.input)
			errors = strings.ReplaceAll(errors, fmt.Sprintf("uid=%d", os.Getuid()), "uid=UID")
			if i, j := strings.Index(errors, "User "), strings.Index(errors, "("); i >= 0 && j > i {
				errors = errors[:i] + "User USER(UID)" + errors[strings.Index(errors, ")")+1:]
			}
			if out != c.out || errors != c.errors || exit != c.exit {
				t.Errorf("exit %d\nout  %q\nwant %q\nerr  %s\nwant %s", exit, out, c.out, errors, c.errors)
			}
			switch {
			case c.file == "" && len(files) != 0:
				t.Errorf("file left: %q", files)
			case c.file != "" && (len(files) != 1 || !strings.HasPrefix(files[0], c.file)):
				t.Errorf("files %q, want %q", files, c.file)
			}
		})
	}
}

func TestSenderMatches(t *testing.T) {
	ext := maps.Extension{Delimiters: "+"}
	for _, c := range []struct {
		patterns, sender string
		want             bool
	}{
		{"*", "x", true}, {"a, b", "B", true}, {"a b", "c", false}, {"<>", "", true}, {"a", "", false}, {"@d.test", "x@D.test", true},
		{"@d.test", "x", false}, {"u@d", "u+ext@d", true}, {`"a b"@c`, "a b@c", true}, {"u@d", "u@e", false}, {"", "u", false},
	} {
		if got := senderMatches(c.patterns, c.sender, "+", "<>", ext); got != c.want {
			t.Errorf("%q %q: %v", c.patterns, c.sender, got)
		}
	}
}

// Whatever comes in, only permitted records go out.
func FuzzCopy(f *testing.F) {
	f.Add(build("S a@b", "R c@d", "A encoding=8bit", "M", "N x", "X", "E"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newFuzzMessage()
		if err := m.copy(newReader(data)); err != nil || m.status != 0 {
			return
		}
		r := record.NewReader(bytes.NewReader(m.buf), "result", 0)
		segment := 0
		for {
			typ, data, err := r.Next()
			if err != nil {
				break
			}
			if !segments[segment].Has(typ) || typ != record.Text && typ != record.Fragment && bytes.ContainsAny(data, "\r\n\x00") {
				t.Fatalf("record %c %q in segment %d", typ, data, segment)
			}
			if typ == record.Type(segments[segment][0]) {
				segment++
			}
		}
		if segment != len(segments) {
			t.Errorf("message ends in segment %d", segment)
		}
	})
}

func newReader(data []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(data)) }

func newFuzzMessage() *message {
	return &message{cfg: config.New("/nonexistent", nil, config.Options{Program: program}), maxRecord: 2048, limit: 1 << 15}
}
