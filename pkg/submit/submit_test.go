package submit

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"suffix/pkg/config"
	"suffix/pkg/table"

	_ "suffix/pkg/table/simple"

	"golang.org/x/sys/unix"
)

func configWith(t *testing.T, settings ...string) *config.Main {
	t.Helper()
	list := []config.Setting{{Name: "compatibility_level", Value: "3.6"}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, " = ")
		list = append(list, config.Setting{Name: name, Value: value})
	}
	return config.New(t.TempDir(), list, config.Options{Program: "test"})
}

func TestCheck(t *testing.T) {
	user := User(os.Getuid())
	for _, c := range []struct {
		list string
		ok   bool
	}{
		{"static:anyone", true}, {user, true}, {"!" + user + ", static:all", false}, {"", false}, {"somebody-else", false},
	} {
		err := Check(configWith(t, "authorized_mailq_users = "+c.list), List, os.Getuid())
		if (err == nil) != c.ok {
			t.Errorf("%q: %v", c.list, err)
		}
		if err != nil && !strings.HasSuffix(err.Error(), " is not allowed to view the mail queue") {
			t.Errorf("%q: %v", c.list, err)
		}
	}
	if got := User(1 << 30); got != "unknown" {
		t.Errorf("got %q", got)
	}
}

func TestTrigger(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("public", 0700); err != nil {
		t.Fatal(err)
	}
	if err := Trigger("public", "pickup", "W"); err == nil || err.Error() != "unable to look up public/pickup: No such file or directory" {
		t.Errorf("got %v", err)
	}
	l, err := net.Listen("unix", "public/pickup")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// The server need not be listening yet: it finds the request later.
	if err := Trigger("public", "pickup", "W"); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 10)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "W\x00" {
		t.Errorf("got %q %v", b[:n], err)
	}
	if err := os.WriteFile("public/file", nil, 0600); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.Remove("public/pickup"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "public/pickup"}); err != nil {
		t.Fatal(err)
	}
	if err := Trigger("public", "pickup", "W"); err != nil {
		t.Errorf("socket without server: %v", err)
	}
	if err := Trigger("public", "file", "W"); err == nil {
		t.Error("a file is no service")
	}
}

func TestPostmapAnswers(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nread key\ncase $key in\nalice) printf 'alice\\tyes please\\n';;\nbroken) echo trouble >&2; exit 1;;\n*) exit 1;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "postmap"), []byte(script), 0700); err != nil {
		t.Fatal(err)
	}
	UsePostmap(configWith(t, "command_directory = "+dir))
	h := table.Open("pcre:/some/file", table.Options{})
	if value, found, err := h.Lookup("alice"); value != "yes please" || !found || err != nil {
		t.Errorf("got %q %v %v", value, found, err)
	}
	if _, found, err := h.Lookup("bob"); found || err != nil {
		t.Errorf("got %v %v", found, err)
	}
	if _, _, err := h.Lookup("broken"); err == nil {
		t.Error("no error")
	}
	if _, found, err := h.Lookup("a\nb"); found || err != nil {
		t.Errorf("got %v %v", found, err)
	}
}
