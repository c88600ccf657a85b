package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/record"
)

// setup makes a private configuration and queue directory and returns its
// configuration directory.
func setup(t *testing.T, lines ...string) (configDir, queueDir string) {
	t.Helper()
	configDir, queueDir = t.TempDir(), t.TempDir()
	text := "queue_directory = " + queueDir + "\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(configDir, "main.cf"), []byte(text), 0600); err != nil {
		t.Fatal(err)
	}
	// A file that was just edited would be read again and again for a while.
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(filepath.Join(configDir, "main.cf"), old, old); err != nil {
		t.Fatal(err)
	}
	t.Setenv(config.EnvDir, configDir)
	zone := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = zone })
	return configDir, queueDir
}

func postcat(t *testing.T, stdin string, args ...string) (out string, log []string, err error) {
	t.Helper()
	in, w, pipeErr := os.Pipe()
	if pipeErr != nil {
		t.Fatal(pipeErr)
	}
	defer in.Close()
	go func() {
		defer w.Close()
		_, _ = w.WriteString(stdin)
	}()
	var buf bytes.Buffer
	bw := bufio.NewWriter(&buf)
	err = run(args, in, bw, func(format string, a ...any) { log = append(log, fmt.Sprintf(format, a...)) })
	if flushErr := bw.Flush(); flushErr != nil {
		t.Fatal(flushErr)
	}
	return buf.String(), log, err
}

// The files in testdata NAME+OPTIONS.txt are what Postfix 3.7 shows.
func TestGolden(t *testing.T) {
	setup(t)
	t.Chdir("testdata")
	golden, err := filepath.Glob("*.txt")
	if err != nil || len(golden) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, name := range golden {
		base := strings.TrimSuffix(name, ".txt")
		file, option, _ := strings.Cut(base, "-")
		args := []string{file}
		if option != "" {
			args = []string{"-" + option, file}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := postcat(t, "", args...)
		if err != nil || got != string(want) {
			t.Errorf("postcat %v: %v\ngot:\n%s\nwant:\n%s", args, err, got, want)
		}
		// The same through a pipe.
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err = postcat(t, string(content), args[:len(args)-1]...)
		if want := strings.ReplaceAll(string(want), " "+file+" ***", " stdin ***"); err != nil || got != want {
			t.Errorf("postcat %v < file: %v\ngot:\n%s\nwant:\n%s", args, err, got, want)
		}
	}
}

func TestGoldenInput(t *testing.T) {
	for name, want := range map[string][]byte{"sub": submission(), "edited": edited(t)} {
		if got, err := os.ReadFile("testdata/" + name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("testdata/%s is not what the test builds: %v", name, err)
		}
	}
}

func TestWarningsAndErrors(t *testing.T) {
	setup(t)
	t.Chdir(t.TempDir())
	plain := string(submission())
	for name, content := range map[string]string{
		"nofile": "hello", "badptr": "T\x011p\x02z9", "trunc": plain[:len(plain)-30], "sub": plain, "empty": "",
		"badsize": "C\x011C\x05x y z" + plain,
	} {
		if err := os.WriteFile(name, []byte(content), 0600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		log  string
		err  string
	}{
		{"-z", "", usage},
		{"-s x sub", "", "bad offset: x"},
		{"-s -5 sub", "", "bad offset: -5"},
		{"nosuch", "", "open nosuch: No such file or directory"},
		{"-q a.b", "", "bad mail queue ID: a.b"},
		{"-q AAAAA1", "", "open queue file AAAAA1: No such file or directory"},
		{"empty", "", ""},
		{"nofile sub", "nofile: input is not a valid queue file; sub: malformed attribute: missing '=' after attribute name: no separator", ""},
		{"badptr", "badptr: malformed pointer record value: z9", "record read error"},
		{"-v badptr", "badptr: malformed pointer record value: z9", "bad pointer record, or input is not seekable"},
		{"-b trunc", "trunc: unexpected EOF in data, record type 78 length 11", "record read error"},
		{"-be badsize", "invalid size record: 1; file contains multiple size records; badsize: malformed attribute: missing '=' after attribute name: no separator", ""},
		{"-b badsize", "invalid size record: 1", "seek error: Invalid argument"},
		{fmt.Sprintf("-es %d sub", strings.Index(plain, "N\x13Subject")), "sub: out-of-order extracted segment marker", ""},
	} {
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		_, log, err := postcat(t, "", strings.Fields(c.args)...)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got := strings.Join(log, "; "); got != c.log || text != c.err {
			t.Errorf("postcat %s: log %q, error %q; want %q, %q", c.args, got, text, c.log, c.err)
		}
		t.Chdir(wd)
	}
}

func TestSearchAndPrefixes(t *testing.T) {
	_, queueDir := setup(t)
	wd := t.TempDir()
	t.Chdir(wd)
	for dir, id := range map[string]string{"maildrop": "AAAAA1", "deferred/B": "BBBBB2", "saved": "CCCCC3"} {
		if err := os.MkdirAll(filepath.Join(queueDir, dir), 0700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(queueDir, dir, id), []byte("T\x011S\x01aM\x00N\x04textX\x00E\x00"), 0600); err != nil {
			t.Fatal(err)
		}
	}
	out, _, err := postcat(t, "", "-b", "-f", "-o", "-d", "-q", "AAAAA1", "BBBBB2", "CCCCC3")
	want := "maildrop/AAAAA1:         8  78 text\ndeferred/B/BBBBB2:         8  78 text\nsaved/CCCCC3:         8  78 text\n"
	if err != nil || out != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, out, want)
	}
	out, _, err = postcat(t, "", "-e", "-q", "CCCCC3")
	if want := "*** ENVELOPE RECORDS saved/CCCCC3 ***\nmessage_arrival_time: Thu Jan  1 00:00:01 1970\nsender: a\n" +
		"*** MESSAGE CONTENTS saved/CCCCC3 ***\n*** HEADER EXTRACTED saved/CCCCC3 ***\n*** MESSAGE FILE END saved/CCCCC3 ***\n"; err != nil || out != want {
		t.Errorf("%v, got\n%s", err, out)
	}
}

// A file whose content ends before it begins is shown once.
func TestContentGoesBack(t *testing.T) {
	setup(t)
	file := record.AppendSizes(nil, record.Sizes{})
	back := int64(len(file))
	file = record.Append(file, record.Sender, "s@b")
	file = record.Append(file, record.Content, "")
	file = record.Append(file, record.Text, "body")
	file = record.Append(file, record.Extracted, "")
	file = record.Append(file, record.End, "")
	copy(file, record.AppendSizes(nil, record.Sizes{Offset: back - 1, Segment: 1, Recipients: 1, Content: 1}))
	path := filepath.Join(t.TempDir(), "ABC")
	if err := os.WriteFile(path, file, 0600); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"-e", "-he"} {
		if out, _, err := postcat(t, "", option, path); err != nil || strings.Count(out, "MESSAGE CONTENTS") != 1 {
			t.Errorf("%s: %v\n%s", option, err, out)
		}
	}
}
