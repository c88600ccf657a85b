package mastercf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// parse reads text as the file F.
func parse(text string, o Options) ([]Entry, error) {
	r := NewReader("F", text, o)
	var list []Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		list = append(list, *e)
	}
}

func TestEntries(t *testing.T) {
	list, err := parse(`# comment
smtp inet n - n - - smtpd
  -o a=b
# inside
	-o { c = d e } x{y z} { p q }
[::1]:2525 inet n n y 0 0 smtpd
pickup unix n - n 60? 1x pickup
x fifo - - - 0? 7 y
`, Options{DefaultProcessLimit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprintf("%+v", e))
	}
	want := []string{
		"{Name:smtp Type:inet Host: Port:smtp Private:false Unprivileged:true Chroot:false ChrootUnset:false Wakeup:0 WakeupIfUsed:false MaxProc:100 Command:smtpd Args:[-o a=b -o c = d e x{y z} p q] Line:2}",
		"{Name:[::1]:2525 Type:inet Host:::1 Port:2525 Private:false Unprivileged:false Chroot:true ChrootUnset:false Wakeup:0 WakeupIfUsed:false MaxProc:0 Command:smtpd Args:[] Line:6}",
		"{Name:pickup Type:unix Host: Port: Private:false Unprivileged:true Chroot:false ChrootUnset:false Wakeup:60 WakeupIfUsed:true MaxProc:1 Command:pickup Args:[] Line:7}",
		"{Name:x Type:fifo Host: Port: Private:true Unprivileged:true Chroot:false ChrootUnset:true Wakeup:0 WakeupIfUsed:false MaxProc:7 Command:y Args:[] Line:8}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if wantArgs := []string{"-o", "a=b", "-o", "c = d e", "x{y z}", "p q"}; !slices.Equal(list[0].Args, wantArgs) {
		t.Errorf("arguments %q", list[0].Args)
	}
	if list[2].Path() != "public/pickup" || list[3].Path() != "private/x" {
		t.Errorf("paths %s %s", list[2].Path(), list[3].Path())
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"[::1 inet n - n - - smtpd", `missing "]" in "[::1"`},
		{"[::1] inet n - n - - smtpd", `missing service information in "[::1]"`},
		{"[::1]x:25 inet n - n - - smtpd", `garbage after "]" in "[::1]x:25"`},
		{"[::1]:25x inet n - n - - smtpd", `garbage after numerical service in "[::1]:25x"`},
		{"[::1]: inet n - n - - smtpd", `missing service information in "[::1]:"`},
		{"[]:25 inet n - n - - x", `valid hostname or network address required in "[]:25"`},
		{"[ipv6:1.2.3.4]:25 inet n - n - - x", `malformed IPv6 address in "[ipv6:1.2.3.4]:25"`},
		{"a:b:25 inet n - n - - smtpd", `valid hostname or network address required in "a:b:25"`},
		{"25x inet n - n - - smtpd", `garbage after numerical service in "25x"`},
		{": inet n - n - - x", `missing service information in ":"`},
		{"fo/o:25 inet n - n - - x", `valid hostname or network address required in "fo/o:25"`},
		{"127.0.0.1 inet n - n - - x", `garbage after numerical service in "127.0.0.1"`},
		{"foo unix x - n - - x", `field "private": bad value: "x"`},
		{"foo unix - - - 5x? 1 -", `field "command" has no default value`},
		{"a unix - - - - -1 x", `field "max_proc": bad value: "-1"`},
		{"a unix - - - ? 1 x", `field "wakeup_time": bad value: "?"`},
		{"x unix - - - - 999999999999 x", `field "max_proc": bad value: "999999999999"`},
		{"a unix - - - 1 1", `missing "command" field`},
		{"a unix - - - 1 1 x {y", `missing '}' in "{y"`},
		{"a unix - - - 1 1 x {y}z", `syntax error after '}' in "{y}z"`},
		{"a inet - - - 1 1 x", "inet service cannot be private"},
		{"- unix -", `missing "unprivileged" field`},
		{"a tcp n", "bad transport type: tcp"},
		{"a", `missing "transport type" field`},
		{"a -", `field "transport type" has no default value`},
	} {
		_, err := parse("\n"+c.line+"\n", Options{})
		if err == nil || err.Error() != "F: line 2: "+c.want {
			t.Errorf("%q: %v; want %s", c.line, err, c.want)
		}
	}
	if _, err := Parse("/nonexistent/master.cf", Options{}); err == nil || err.Error() != "open /nonexistent/master.cf: No such file or directory" {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	var notes []string
	note := func(text string) { notes = append(notes, text) }
	text := "smtp inet n - - - - smtpd\nlocal unix - n - - - local\nrelay unix broken\n leading\na/b unix - - y - - x\n"
	for _, c := range []struct {
		o     Options
		names string
		notes []string
	}{
		{Options{Disable: []string{"relay.unix", "inet"}}, "local a/b", nil},
		{Options{Disable: []string{"!local/unix", "unix"}, NoInet: true}, "local", []string{"all network protocols are disabled (inet_protocols = )", `disabling all type "inet" services in master.cf`}},
		{Options{Disable: []string{"RELAY/UNIX"}, ChrootByDefault: true}, "smtp local a/b", []string{
			"F: line 1: using backwards-compatible default setting chroot=y", "F: line 2: using backwards-compatible default setting chroot=y"}},
	} {
		notes = nil
		c.o.Warn, c.o.Info = note, note
		list, err := parse(text, c.o)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range list {
			names = append(names, e.Name)
			if e.Chroot != (e.Name == "a/b" || c.o.ChrootByDefault) {
				t.Errorf("%s: chroot %v", e.Name, e.Chroot)
			}
		}
		if got := strings.Join(names, " "); got != c.names || !slices.Equal(notes, c.notes) {
			t.Errorf("%+v: %s %q", c.o, got, notes)
		}
	}
	_, err := parse("host:25 inet broken", Options{CheckHost: func(e *Entry) error { return errors.New("bad hostname or network address: " + e.Name) }})
	if err == nil || err.Error() != "F: line 1: bad hostname or network address: host:25" {
		t.Error(err)
	}
}

// The shipped file holds the stock services and no mistake.
func TestShipped(t *testing.T) {
	if _, err := os.Stat("../../conf/master.cf"); err != nil {
		t.Fatal(err)
	}
	list, err := Parse("../../conf/master.cf", Options{DefaultProcessLimit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name+"/"+e.Type)
	}
	want := "smtp/inet pickup/unix cleanup/unix qmgr/unix tlsmgr/unix rewrite/unix bounce/unix defer/unix trace/unix verify/unix flush/unix proxymap/unix proxywrite/unix smtp/unix relay/unix showq/unix error/unix retry/unix discard/unix local/unix virtual/unix lmtp/unix anvil/unix scache/unix postlog/unix-dgram"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("services\n%s\nwant\n%s", got, want)
	}
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{"smtp inet n - n - - smtpd\n -o a=b {c d}\n", "[::1]:25 inet n", "a unix - - - 1? - b {", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parse(text, Options{Disable: []string{"a.b", "!x"}})
		if err != nil && !strings.HasPrefix(err.Error(), "F: line ") {
			t.Error(err)
		}
		for _, e := range list {
			if e.Name == "" || e.Command == "" || e.Wakeup < 0 || e.MaxProc < 0 || e.Line < 1 {
				t.Errorf("%+v", e)
			}
		}
	})
}
