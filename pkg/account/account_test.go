package account

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// useFiles puts test files in the place of the system's.
func useFiles(t *testing.T, passwdText, groupText, nssText string) {
	t.Helper()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		d    **database
		text string
	}{"passwd": {&passwd, passwdText}, "group": {&group, groupText}, "nsswitch.conf": {&nss, nssText}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		saved := *c.d
		*c.d = &database{path: path, source: saved.source}
		t.Cleanup(func() { *c.d = saved })
	}
}

func TestLookup(t *testing.T) {
	useFiles(t, "root:x:0:0:root:/root:/bin/sh\nann:x:1001:1002:Ann,,:/home/ann:/bin/bash\nbad:x:-1:0::/:\nshort:x:1\n",
		"ann:x:1002:\nmail:x:8:bob,ann\nstaff:x:50:joann\nempty:x:51:\n", "passwd: files systemd\ngroup: files\n")
	u, err := Lookup("ann")
	if err != nil {
		t.Fatal(err)
	}
	if u.UID != 1001 || u.GID != 1002 || u.Home != "/home/ann" || u.Shell != "/bin/bash" || !slices.Equal(u.Groups, []int{1002, 8}) {
		t.Errorf("%+v", u)
	}
	if v, err := LookupUID(1001); err != nil || v.Name != "ann" {
		t.Errorf("by number: %+v %v", v, err)
	}
	var none *NotFoundError
	for _, name := range []string{"", "an", "annn", "ann:x", "short"} {
		if _, err := Lookup(name); !errors.As(err, &none) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Lookup("bad"); err == nil || errors.As(err, &none) {
		t.Errorf("bad number: %v", err)
	}
	g, err := LookupGroup("mail")
	if err != nil || g.GID != 8 || !slices.Equal(g.Members, []string{"bob", "ann"}) {
		t.Errorf("%+v %v", g, err)
	}
	if g, err := LookupGID(51); err != nil || g.Name != "empty" || g.Members != nil {
		t.Errorf("%+v %v", g, err)
	}
	// A new file is noticed.
	if err := os.WriteFile(passwd.path, []byte("eve:x:7:7::/:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Lookup("eve"); err != nil {
		t.Error(err)
	}
	if _, err := Lookup("ann"); !errors.As(err, &none) {
		t.Errorf("old entry: %v", err)
	}
}

// A database that cannot be read is not one without the user.
func TestLookupFailure(t *testing.T) {
	useFiles(t, "", "", "")
	passwd = &database{path: filepath.Join(t.TempDir(), "none"), source: "passwd"}
	var none *NotFoundError
	if _, err := Lookup("ann"); err == nil || errors.As(err, &none) {
		t.Errorf("%v", err)
	}
}

// Where the system has more sources than the files, it is asked.
func TestLookupOtherSources(t *testing.T) {
	useFiles(t, "", "", "passwd: files ldap\n")
	u, err := Lookup("root")
	if err != nil || u.UID != 0 || u.Home == "" {
		t.Errorf("%+v %v", u, err)
	}
	var none *NotFoundError
	if _, err := Lookup("no such user"); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
	if _, err := Lookup("--help"); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
}

// AsUser makes files of the user while the process keeps its identity. As an
// ordinary user only the own identity is to be had.
func TestAsUser(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 54321, 54322
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		path := filepath.Join(dir, string(rune('a'+i)))
		if err := AsUser(uid, gid, []int{gid}, func() error { return os.WriteFile(path, nil, 0o600) }); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("owner %d:%d, want %d:%d", st.Uid, st.Gid, uid, gid)
		}
	}
	own := filepath.Join(dir, "own")
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(own)
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
		t.Errorf("the process lost its identity: %v %v", info, err)
	}
	if uid == 54321 {
		secret := filepath.Join(dir, "secret")
		if err := os.WriteFile(secret, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		err := AsUser(uid, gid, nil, func() error { _, err := os.ReadFile(secret); return err })
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("root's file: %v", err)
		}
	}
}

// The rights on files change for a while; the process stays who it is.
func TestWithFileRights(t *testing.T) {
	u := &User{Name: "test", UID: os.Getuid(), GID: os.Getgid()}
	if u.UID == 0 {
		u.UID, u.GID = 54321, 54322
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	owner := func(name string, uid, gid int) {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("%s: owner %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := WithFileRights(u, func() error {
			if _, err := os.ReadFile(secret); u.UID == 54321 && !errors.Is(err, os.ErrPermission) {
				t.Errorf("root's file: %v", err)
			}
			return os.WriteFile(filepath.Join(dir, "theirs"), nil, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
		owner("theirs", u.UID, u.GID)
	}
	if err := os.WriteFile(filepath.Join(dir, "ours"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	owner("ours", os.Getuid(), os.Getgid())
	func() {
		defer func() { _ = recover() }()
		_ = WithFileRights(u, func() error { panic("x") })
	}()
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("rights did not come back: %v", err)
	}
}

func TestAsUserPanic(t *testing.T) {
	defer func() {
		if recover() != "oops" {
			t.Error("the panic did not reach the caller")
		}
	}()
	uid := os.Getuid()
	if uid == 0 {
		uid = 54321
	}
	AsUser(uid, os.Getgid(), nil, func() error { panic("oops") })
}

func FuzzMatch(f *testing.F) {
	f.Add([]byte("a:b:c"), 1, "b")
	f.Add([]byte("::"), 2, "")
	f.Fuzz(func(t *testing.T, line []byte, n int, key string) {
		if fields := match(line, n, key); fields != nil && (n < 0 || n >= len(fields) || fields[n] != key) {
			t.Errorf("%q %d %q: %q", line, n, key, fields)
		}
	})
}
