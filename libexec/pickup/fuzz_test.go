package pickup

import (
	"context"
	"os"
	"os/user"
	"testing"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
)

// FuzzFile takes a maildrop file that a user may have filled with anything.
func FuzzFile(f *testing.F) {
	f.Add(file("T 1 2", "A rewrite_context=local", "S s", "R r", "M", "N Subject: x", "N", "X", "A notify_flags=1", "R z", "E"))
	f.Add(file("C 1 2 3", "p 0", "w", "S s", "R r", "M", "L x", "X", "E"))
	f.Add([]byte("S\x81\x80\x80\x80\x08"))
	me, err := user.Current()
	if err != nil {
		f.Fatal(err)
	}
	f.Chdir(f.TempDir())
	if err := os.Mkdir("maildrop", 0700); err != nil {
		f.Fatal(err)
	}
	scanner, err := newScanner(config.New(".", []config.Setting{{Name: "mail_owner", Value: me.Username}}, config.Options{Program: "pickup"}), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile("maildrop/ABC", content, 0700); err != nil {
			t.Fatal(err)
		}
		s := &stream{}
		cleanupclient.InProcess = func(context.Context, string, cleanupclient.Flags) (cleanupclient.Stream, error) { return s, nil }
		defer func() { cleanupclient.InProcess = nil }()
		scanner.scan(context.Background())
		if _, err := os.Lstat("maildrop/ABC"); err == nil {
			t.Error("the file is left")
		}
		if !s.aborted {
			t.Error("the message is left half-way")
		}
	})
}
