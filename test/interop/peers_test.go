//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// debianPython is the interpreter whose library is Debian's.
const debianPython = "/usr/bin/python3"

// head begins each message of the corpus. All that a mail system would add is
// there.
const head = "From: Sender <sender@client.test>\nTo: Folder <folder@virt.test>\nDate: Mon, 6 Jan 2025 10:11:12 +0100\n"

// corpus has messages that must arrive as they were sent, by name.
func corpus() map[string]string {
	random := rand.New(rand.NewPCG(1, 2))
	var big strings.Builder
	for range 20000 {
		fmt.Fprintf(&big, "%016x%016x%016x\n", random.Uint64(), random.Uint64(), random.Uint64())
	}
	var all strings.Builder
	for i := 1; i < 256; i++ {
		if i != '\n' && i != '\r' {
			all.WriteByte(byte(i))
		}
		if i%32 == 0 {
			all.WriteByte('\n')
		}
	}
	m := map[string]string{
		"plain":           "Text.\n",
		"dots":            ".\n..\n.begins\n...\nends.\n",
		"from":            "From the beginning\n\nFrom the middle\n>From quoted\n",
		"latin":           "Caf\xe9\n",
		"utf8":            "Gr\xc3\xbc\xc3\x9fe \xe2\x82\xac\n",
		"all bytes":       all.String() + "\n",
		"line of 998":     strings.Repeat("x", 998) + "\n",
		"line of 2048":    strings.Repeat("x", 2048) + "\n",
		"line of 100000":  strings.Repeat("y", 100000) + "\nz\n",
		"one blank line":  "\n",
		"no text":         "",
		"blank lines":     "\n\n\nx\n\n\n\n",
		"white space":     " \t \nx \n\ty\t\n",
		"a million bytes": big.String(),
		"looks like mail": "Received: from nowhere\nTo: nobody\n\n--boundary\n",
	}
	for name, text := range m {
		m[name] = head + "Message-ID: <" + strings.ReplaceAll(name, " ", ".") + "@client.test>\nSubject: " + name + "\n\n" + text
	}
	m["headers"] = head + "Message-ID: <headers@client.test>\nSubject:no space\nX-Empty:\nX-Folded: one\n two\n\tthree\nX-Spaces:   x  \nX-Latin: \xe9\nX-Long: " + strings.Repeat("word ", 400) + "\n" +
		strings.Repeat("X-Many: x\n", 200) + "\nText.\n"
	m["only headers"] = head + "Message-ID: <only.headers@client.test>\nSubject: only headers\n"
	return m
}

// added are the headers that delivery adds.
var added = []string{"Return-Path:", "X-Original-To:", "Delivered-To:", "Received:"}

// withoutAdded removes the added headers from the beginning of a message.
func withoutAdded(message string) string {
	for {
		first, _, _ := strings.Cut(message, " ")
		found := false
		for _, name := range added {
			found = found || first == name
		}
		if !found {
			return message
		}
		for {
			_, rest, ok := strings.Cut(message, "\n")
			message = rest
			if !ok || !strings.HasPrefix(message, "\t") && !strings.HasPrefix(message, " ") {
				break
			}
		}
	}
}

// arrived returns the messages in the maildir, by Message-ID, without added
// headers, and empties it.
func (s *system) arrived() map[string]string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "mail/folder/new/*"))
	check(s.t, err)
	messages := make(map[string]string)
	for _, f := range files {
		content, err := os.ReadFile(f)
		check(s.t, err)
		text := withoutAdded(string(content))
		header, _, _ := strings.Cut(text, "\n\n")
		id := ""
		for line := range strings.Lines(header) {
			if v, ok := strings.CutPrefix(line, "Message-ID: "); ok {
				id = strings.TrimSpace(v)
			}
		}
		if _, ok := messages[id]; ok {
			s.t.Errorf("message %s has arrived twice", id)
		}
		messages[id] = text
		check(s.t, os.Remove(f))
	}
	return messages
}

// expect waits for the messages, by Message-ID, and compares.
func (s *system) expect(want map[string]string) {
	s.t.Helper()
	s.settle()
	got := s.arrived()
	for id, text := range want {
		if got[id] != text {
			at := 0
			for at < min(len(text), len(got[id])) && text[at] == got[id][at] {
				at++
			}
			s.t.Errorf("%s: sent %d bytes, arrived %d, different from byte %d: %.60q and %.60q", id, len(text), len(got[id]), at, text[at:], got[id][at:])
		}
		delete(got, id)
	}
	for id := range got {
		s.t.Errorf("unexpected message %s", id)
	}
}

// files writes the corpus into a folder, with the line ends of SMTP or of
// Unix, and returns what is to arrive, by Message-ID.
func (s *system) files(dir, lineEnd string, except ...string) (paths []string, want map[string]string) {
	s.t.Helper()
	check(s.t, os.MkdirAll(dir, 0o755))
	want = make(map[string]string)
	for name, text := range corpus() {
		skip := false
		for _, e := range except {
			skip = skip || e == name
		}
		if skip {
			continue
		}
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "."))
		check(s.t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "\n", lineEnd)), 0o644))
		paths = append(paths, path)
		want["<"+strings.ReplaceAll(name, " ", ".")+"@client.test>"] = text
	}
	return paths, want
}

// peer runs a client.
func (s *system) peer(name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+s.in.Config(), "HOME="+s.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, out, s.logTail())
	}
}

// smtplibClient sends files, all over one connection and each over its own.
const smtplibClient = `
import smtplib, sys
port, rest = int(sys.argv[1]), sys.argv[2:]
shared = smtplib.SMTP("127.0.0.1", port)
for i, path in enumerate(rest):
    with open(path, "rb") as f:
        content = f.read()
    client = shared if i % 2 else smtplib.SMTP("127.0.0.1", port)
    refused = client.sendmail("sender@client.test", ["folder@virt.test"], content, mail_options=["BODY=8BITMIME"])
    assert not refused, refused
    if client is not shared:
        client.quit()
shared.quit()
with smtplib.SMTP("127.0.0.1", port) as client:
    client.ehlo()
    assert client.has_extn("dsn") and client.has_extn("pipelining") and client.has_extn("smtputf8")
    code, text = client.verify("missing@mx.interop.test")
    assert code == 550, (code, text)
    try:
        client.sendmail("sender@client.test", ["missing@virt.test"], "x")
        raise SystemExit("accepted for a user that does not exist")
    except smtplib.SMTPRecipientsRefused as e:
        assert e.recipients["missing@virt.test"][0] == 550, e
`

func TestSmtplib(t *testing.T) {
	t.Parallel()
	s := newSystem(t, suffixAlone, nil)
	s.start()
	paths, want := s.files(filepath.Join(s.dir, "corpus"), "\r\n")
	s.peer(debianPython, append([]string{"-c", smtplibClient, fmt.Sprint(s.in.Port)}, paths...)...)
	s.expect(want)
}

func TestSwaks(t *testing.T) {
	t.Parallel()
	s := newSystem(t, suffixAlone, nil)
	s.start()
	for _, way := range [][]string{
		{"--server", "127.0.0.1", "--port", fmt.Sprint(s.in.Port)},
		{"--server", "127.0.0.1", "--port", fmt.Sprint(s.in.Port), "--pipeline"},
		{"--server", "127.0.0.1", "--port", fmt.Sprint(s.in.Port), "--protocol", "SMTP"},
		{"--pipe", filepath.Join(s.in.Bin, "sendmail") + " -bs"},
	} {
		// swaks ends each message with one more line end, and takes % as the
		// beginning of a token.
		paths, want := s.files(filepath.Join(s.dir, "corpus"), "\n", "all bytes", "only headers", "no text")
		for _, path := range paths {
			content, err := os.ReadFile(path)
			check(t, err)
			check(t, os.WriteFile(path, bytes.TrimSuffix(content, []byte("\n")), 0o644))
			s.peer("swaks", append([]string{"--from", "sender@client.test", "--to", "folder@virt.test", "--ehlo", "client.test", "--data", "@" + path}, way...)...)
		}
		s.expect(want)
	}
}

func TestMutt(t *testing.T) {
	t.Parallel()
	s := newSystem(t, suffixAlone, nil)
	s.start()
	sent := filepath.Join(s.dir, "sent")
	program := filepath.Join(s.dir, "pass-on")
	check(t, os.WriteFile(program, []byte("#!/bin/sh\ntee "+sent+" | "+filepath.Join(s.in.Bin, "sendmail")+" \"$@\"\n"), 0o755))
	common := "set realname='M\xc3\xbctt User'\nset from=sender@client.test\nset hostname=client.test\nset charset=utf-8\nset send_charset=us-ascii:utf-8\nset allow_8bit=yes\nset fcc_attach=yes\nset ssl_force_tls=no\n"
	rc := filepath.Join(s.dir, "muttrc")
	check(t, os.WriteFile(rc, []byte(common+"set copy=no\nset sendmail='"+program+" -oem -oi'\n"), 0o644))
	attachment := filepath.Join(s.dir, "attachment.bin")
	check(t, os.WriteFile(attachment, bytes.Repeat([]byte{0, 1, 2, '\n', '.', '\n', 255, 13, 10}, 1000), 0o644))

	mutt := func(rc, body string, args ...string) {
		t.Helper()
		cmd := exec.Command("mutt", append([]string{"-n", "-F", rc}, args...)...)
		cmd.Stdin = strings.NewReader(body)
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), "MAIL_CONFIG="+s.in.Config(), "HOME="+s.dir, "LC_ALL=C.UTF-8", "TERM=dumb")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("mutt %v: %v\n%s\n%s", args, err, out, s.logTail())
		}
		s.settle()
	}
	body := "Gr\xc3\xbc\xc3\x9fe\n.\n..dots\n\nFrom here\n" + strings.Repeat("long ", 300) + "\n"
	for _, args := range [][]string{{"-s", "plain", "--", "folder@virt.test"}, {"-s", "W\xc3\xb6rter", "-a", attachment, "--", "folder@virt.test"}} {
		mutt(rc, body, args...)
		want, err := os.ReadFile(sent)
		check(t, err)
		got := s.arrived()
		if len(got) != 1 {
			t.Fatalf("%d messages have arrived", len(got))
		}
		for _, text := range got {
			if text != string(want) {
				t.Errorf("mutt %v: sent\n%s\narrived\n%s", args, want, text)
			}
		}
	}

	// Over SMTP, and compared with mutt's own copy.
	copies := filepath.Join(s.dir, "copies")
	check(t, os.WriteFile(rc, []byte(common+"set copy=yes\nset record="+copies+"\nset smtp_url=smtp://127.0.0.1:"+fmt.Sprint(s.in.Port)+"\n"), 0o644))
	mutt(rc, body, "-s", "over SMTP", "-a", attachment, "--", "folder@virt.test")
	content, err := os.ReadFile(copies)
	check(t, err)
	_, saved, _ := strings.Cut(string(content), "\n") // the From line
	got := s.arrived()
	if len(got) != 1 {
		t.Fatalf("%d messages have arrived", len(got))
	}
	for _, text := range got {
		_, wantText, _ := strings.Cut(saved, "\n\n")
		_, gotText, _ := strings.Cut(text, "\n\n")
		// The copy ends with a blank line, and quotes From.
		wantText = strings.ReplaceAll(strings.TrimSuffix(wantText, "\n"), "\n>From ", "\nFrom ")
		if gotText != wantText {
			t.Errorf("sent over SMTP\n%s\narrived\n%s", wantText, gotText)
		}
	}
}
