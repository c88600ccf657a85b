package postlogd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A batch of records becomes as many lines, whatever is in them.
func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	l := &logger{file: f, path: path}
	for range 2 {
		l.append(nil, [][]byte{[]byte("one"), []byte("two\nNov 22 forged\r\x00"), []byte("caf\xc3\xa9")})
	}
	got, err := os.ReadFile(path)
	want := strings.Repeat("one\ntwo?Nov 22 forged??\ncaf\xc3\xa9\n", 2)
	if err != nil || string(got) != want {
		t.Errorf("%q %v", got, err)
	}
}

func TestSplit(t *testing.T) {
	for record, want := range map[string][2]string{
		"Nov 22 14:57:13 mx postfix/smtpd[3483]: warning: x": {"postfix/smtpd[3483]", "warning: x"},
		"a b  c d foo/bar[123]  text: more":                  {"foo/bar[123]", "text: more"},
		"too few words here":                                 {"", "too few words here"},
		"a b c d : x":                                        {"", "a b c d : x"},
		"":                                                   {"", ""},
	} {
		tag, text := split([]byte(record))
		if tag != want[0] || text != want[1] {
			t.Errorf("%q: %q %q", record, tag, text)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("Nov 22 14:57:13 mx postfix/smtpd[3483]: x"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		tag, text := split(packet)
		if len(tag)+len(text) > len(packet) || strings.ContainsAny(tag, ": ") {
			t.Errorf("%q: %q %q", packet, tag, text)
		}
	})
}
