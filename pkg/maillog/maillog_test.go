package maillog

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// postlog is a stand-in for the postlog service's socket.
func postlog(t *testing.T) (path string, receive func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return path, func() string {
		buf := make([]byte, 65536)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func configure(t *testing.T, s Settings) error {
	t.Helper()
	t.Setenv("POSTLOG_SERVICE", "")
	t.Setenv("POSTLOG_HOSTNAME", "")
	Init("test")
	t.Cleanup(func() { current.Store(nil); utf8OK.Store(false) })
	return Configure(s)
}

func TestRecord(t *testing.T) {
	path, receive := postlog(t)
	err := configure(t, Settings{Program: "smtpd", SyslogName: "postfix", Facility: "mail", File: "/var/log/x",
		Prefixes: []string{"/var"}, Socket: path, Hostname: "mx.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	Warnf("lost connection from %s", "a\nb\x00c\r\x7fé")
	want := regexp.MustCompile(`^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d mx postfix/smtpd\[\d+\]: warning: lost connection from a\?b\?c\?\?\?\?$`)
	if got := receive(); !want.MatchString(got) {
		t.Errorf("%q", got)
	}
	For("cleanup").Infof("x")
	if got := receive(); !strings.Contains(got, " postfix/cleanup[") || !strings.HasSuffix(got, "]: x") {
		t.Errorf("%q", got)
	}
	SetUTF8(true)
	Infof("%s", strings.Repeat("é", 1500))
	text := receive()
	text = text[strings.Index(text, "]: ")+3:]
	if len(text) != 2000 || !utf8.ValidString(text) {
		t.Errorf("long text: %d bytes", len(text))
	}
	if os.Getenv("POSTLOG_SERVICE") != path || os.Getenv("POSTLOG_HOSTNAME") != "mx" {
		t.Errorf("environment: %q %q", os.Getenv("POSTLOG_SERVICE"), os.Getenv("POSTLOG_HOSTNAME"))
	}
}

func TestSyslog(t *testing.T) {
	path, receive := postlog(t)
	saved := syslogSocket
	syslogSocket = path
	defer func() { syslogSocket = saved }()
	if err := configure(t, Settings{Program: "qmgr", SyslogName: "pf2", Facility: "local3", Hostname: "h"}); err != nil {
		t.Fatal(err)
	}
	Warnf("one")
	if got := receive(); !regexp.MustCompile(`^<156>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d pf2/qmgr\[\d+\]: warning: one$`).MatchString(got) {
		t.Errorf("%q", got)
	}
	Raw("foo/bar[123]", "text")
	if got := receive(); !strings.HasSuffix(got, " foo/bar[123]: text") {
		t.Errorf("%q", got)
	}
}

// A new postlog socket in the place of the old one is found.
func TestReconnect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listen := func() *net.UnixConn {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := listen()
	if err := configure(t, Settings{Program: "x", Facility: "mail", File: "/var/log/x", Prefixes: []string{"/"}, Socket: path, Hostname: "h"}); err != nil {
		t.Fatal(err)
	}
	first.Close()
	os.Remove(path)
	second := listen()
	defer second.Close()
	Infof("hello")
	buf := make([]byte, 100)
	n, err := second.Read(buf)
	if err != nil || !strings.HasSuffix(string(buf[:n]), "]: hello") {
		t.Errorf("%q %v", buf[:n], err)
	}
}

func TestFallback(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "maillog")
	err := configure(t, Settings{Program: "master", Facility: "mail", File: file, Prefixes: []string{dir}, Socket: filepath.Join(dir, "none"),
		Hostname: "h", Fallback: true, Permissions: "0640"})
	if err != nil {
		t.Fatal(err)
	}
	Infof("one")
	Errorf("two\nthree")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^.* h postfix/master\[\d+\]: one\n.* h postfix/master\[\d+\]: error: two\?three\n$`)
	if !want.Match(got) {
		t.Errorf("%q", got)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
}

func TestConfigureErrors(t *testing.T) {
	err := configure(t, Settings{Program: "x", Facility: "nonesuch", ConfigFile: "/etc/postfix/main.cf"})
	if err == nil || err.Error() != "file /etc/postfix/main.cf: parameter syslog_facility: unrecognized value: nonesuch" {
		t.Error(err)
	}
	err = configure(t, Settings{Program: "x", Facility: "mail", File: "/etc/x", Prefixes: []string{"/var", "/dev/stdout"}})
	if err == nil || err.Error() != "maillog_file value '/etc/x' does not match any prefix in maillog_file_prefixes" {
		t.Error(err)
	}
}

func TestStderr(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	saved := os.Stderr
	os.Stderr = w
	Init("postmap", StderrOnly("postmap"))
	Warnf("bad\nkey")
	Infof("fine")
	os.Stderr = saved
	current.Store(nil)
	w.Close()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "postmap: warning: bad?key\npostmap: fine\n" {
		t.Errorf("%q %v", got, err)
	}
}

// A daemon's copies carry its tag, before and after main.cf is read.
func TestStderrTag(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	saved := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = saved }()
	t.Setenv("POSTLOG_SERVICE", "")
	t.Setenv("MAIL_LOGTAG", "pf2")
	Init("flush", WithStderrTag())
	defer current.Store(nil)
	Warnf("one")
	if err := Configure(Settings{Program: "flush", SyslogName: "pf3", Facility: "mail"}); err != nil {
		t.Fatal(err)
	}
	Warnf("two")
	w.Close()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "pf2/flush: warning: one\npf3/flush: warning: two\n" {
		t.Errorf("%q %v", got, err)
	}
}

// A record costs no memory beyond its arguments.
func TestAllocations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.Copy(io.Discard, c)
	if err := configure(t, Settings{Program: "x", Facility: "mail", File: "/var/log/x", Prefixes: []string{"/"}, Socket: path, Hostname: "h"}); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() { Infof("connect from unknown") }); n > 0.5 {
		t.Errorf("%v allocations for a record", n)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("plain", false)
	f.Add("\x00\xff\xc3\xa9\xc2\x85\u2028", true)
	f.Fuzz(func(t *testing.T, s string, on bool) {
		SetUTF8(on)
		defer SetUTF8(false)
		got := Printable(s)
		if len(got) != len(s) {
			t.Errorf("%q: length changed: %q", s, got)
		}
		for i, r := range got {
			if r < ' ' || r == 0x7f || r >= 0x80 && (!on || r < 0xa0 || r == utf8.RuneError && got[i] != 0xef) {
				t.Errorf("%q: not printable: %q", s, got)
			}
		}
	})
}
