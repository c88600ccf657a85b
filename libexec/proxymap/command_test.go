package proxymap

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	client "suffix/pkg/proxymapclient"
	"suffix/pkg/table"
)

// The test program is also daemon_directory/proxymap, with a driver of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == client.ServeCommand {
		table.Register("sqlite", table.Type{Open: func(_, name string, o table.Options) (table.Table, error) {
			if strings.Contains(name, "missing") {
				return nil, errors.New("open " + name + ": No such file or directory")
			}
			return fake(name), nil
		}})
		Main()
	}
	os.Exit(m.Run())
}

// fake is a table that fails as its key says.
type fake string

func (f fake) Name() string  { return "sqlite:" + string(f) }
func (f fake) Fixed() bool   { return true }
func (f fake) Changed() bool { return false }
func (f fake) Close() error  { return nil }
func (f fake) Lookup(key string) (string, bool, error) {
	switch key {
	case "fatal":
		return "", false, &table.Error{Whole: true, Err: errors.New("SQL prepare failed")}
	case "config":
		return "", false, &table.Error{Config: true}
	case "retry":
		return "", false, &table.Error{}
	case "exit":
		os.Exit(3)
	case "none":
		return "", false, nil
	}
	return key + " in " + string(f), true, nil
}

func commandConfig(t *testing.T, link string) *config.Main {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/main.cf", []byte("maillog_file = "+dir+"/log\nmaillog_file_prefixes = "+dir+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// One that was just written is read again after a while.
	if err := os.Chtimes(dir+"/main.cf", time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MAIL_CONFIG", dir)
	if link != "" {
		if err := os.Symlink(link, dir+"/proxymap"); err != nil {
			t.Fatal(err)
		}
	}
	return config.New(dir, []config.Setting{{Name: "daemon_directory", Value: dir}}, config.Options{})
}

// A command has the tables of a proxymap that it starts for itself.
func TestCommand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := commandConfig(t, self)
	file := filepath.Join(t.TempDir(), "x.cf")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := table.Options{Config: cfg, Command: true, Flags: table.Reader}
	h := table.Open("sqlite:"+file, o)
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	if uid, known := h.Owner(); uid != os.Getuid() || !known {
		t.Errorf("owner %d, %v", uid, known)
	}
	if !h.Fixed() || h.Name() != "sqlite:"+file {
		t.Errorf("%s, fixed %v", h.Name(), h.Fixed())
	}
	for range 2 {
		if v, found, err := h.Lookup("KEY"); v != "key in "+file || !found || err != nil {
			t.Errorf("%q %v %v", v, found, err)
		}
		if _, found, err := h.Lookup("none"); found || err != nil {
			t.Errorf("%v %v", found, err)
		}
		for key, want := range map[string]table.Error{"fatal": {Whole: true, Err: errors.New("SQL prepare failed")}, "config": {Config: true}, "retry": {}} {
			_, _, err := h.Lookup(key)
			var e *table.Error
			if !errors.As(err, &e) || e.Whole != want.Whole || e.Config != want.Config || e.Error() != want.Error() {
				t.Errorf("%s: %#v, want %#v", key, err, want)
			}
		}
		// A server that dies is reported; the next lookup has a new one.
		if _, _, err := h.Lookup("exit"); err == nil || !strings.Contains(err.Error(), "ended early") {
			t.Errorf("%v", err)
		}
	}
	if h := table.Open("sqlite:/missing", o); h.Err() == nil || h.Err().Error() != "open /missing: No such file or directory" {
		t.Errorf("%v", h.Err())
	}
	o.Mode = table.ReadWrite
	if h := table.Open("sqlite:/x", o); h.Err() == nil || h.Err().Error() != "sqlite:/x map requires O_RDONLY access mode" {
		t.Errorf("%v", h.Err())
	}
}

// Without our program the reason is plain.
func TestCommandWithout(t *testing.T) {
	for link, want := range map[string]string{
		"":          "/proxymap, which has the client for such tables: No such file or directory",
		"/bin/true": "/proxymap has no client for such tables: it is not the one of Suffix",
	} {
		h := table.Open("mysql:/x", table.Options{Config: commandConfig(t, link), Command: true, Flags: table.Reader})
		if h.Err() == nil || !strings.HasSuffix(h.Err().Error(), want) {
			t.Errorf("%v, want %s", h.Err(), want)
		}
	}
}

func TestHeavyTables(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.cf": "a = mysql:/a, hash:/no\nb = x${v}\nv = ldap:/b\nsmtpd_restriction_classes = c\nc = check_recipient_access { pgsql:/c, k = v } !sqlite:/d\n" +
			"d = pipemap:{hash:/no, unionmap:{mongodb:/e,debug:mysql:/f}} proxy:pgsql:legacy\nbroken = ${ mysql:/g\n",
		"master.cf": "svc unix - - n - - smtpd -o x=mysql:/h\n -o { y = $v, sqlite:/i } -v\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(config.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(heavyTables(cfg)))
	want := []string{"ldap:/b", "mongodb:/e", "mysql:/a", "mysql:/f", "mysql:/h", "pgsql:/c", "pgsql:legacy", "sqlite:/d", "sqlite:/i"}
	got = slices.DeleteFunc(got, func(name string) bool { return name == "xldap:/b" })
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
