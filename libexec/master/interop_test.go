//go:build interop

package master

import (
	"fmt"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"suffix/test/instance"
)

// realDaemons is where Debian's Postfix has its daemons.
const realDaemons = "/usr/lib/postfix/sbin"

// mixed starts an instance with our commands. Daemons for which real says so
// are Postfix's, the others are ours.
func mixed(t *testing.T, real func(name string) bool) *instance.Instance {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Postfix's master needs root")
	}
	dir, err := os.MkdirTemp("", "mix")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	build := exec.Command("make", "build", "BIN="+bin)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	entries, err := os.ReadDir(realDaemons)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		link := filepath.Join(bin, "libexec", e.Name())
		if _, err := os.Lstat(link); err == nil && !real(e.Name()) {
			continue
		}
		os.Remove(link)
		if err := os.Symlink(filepath.Join(realDaemons, e.Name()), link); err != nil {
			t.Fatal(err)
		}
	}
	in, err := instance.Create(instance.Options{Dir: filepath.Join(dir, "run"), Bin: bin})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Stop(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// exchange sends mail both ways, around a reload, and waits for its arrival.
func exchange(t *testing.T, in *instance.Instance) (log string) {
	t.Helper()
	to := "user@" + instance.Domain
	sent := 0
	for round := range 2 {
		for i := range 10 {
			text := fmt.Sprintf("Subject: %d.%d\r\n\r\ntext\r\n", round, i)
			if err := smtp.SendMail(in.Address(), nil, "a@suffix.test", []string{to}, []byte(text)); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		cmd := in.Command("sendmail", to)
		cmd.Stdin = strings.NewReader("Subject: local\n\ntext\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("sendmail: %v\n%s", err, out)
		}
		sent++
		if round == 0 {
			if err := in.Control("reload"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		content, err := os.ReadFile(in.Log())
		if err != nil {
			t.Fatal(err)
		}
		log = string(content)
		if messages, err := in.Messages(); err == nil && len(messages) == sent && strings.Count(log, "]: removed\n")+strings.Count(log, ": removed\n") >= sent {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("mail is missing:\n%s", log)
		}
	}
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "postfix-script") && regexp.MustCompile(`: (warning|error|fatal|panic): `).MatchString(line) {
			t.Error(line)
		}
	}
	return log
}

// Postfix's daemons work as children of our master.
func TestRealDaemons(t *testing.T) {
	in := mixed(t, func(name string) bool { return name != "master" })
	log := exchange(t, in)
	if !regexp.MustCompile(`master\[\d+\]: daemon started -- version 3\.11`).MatchString(log) {
		t.Errorf("our master does not run:\n%s", log)
	}
	// The real daemons greet with their protocol, not ours: smtpd is real.
	if out, err := os.Readlink(filepath.Join(in.Bin, "libexec/smtpd")); err != nil || out != realDaemons+"/smtpd" {
		t.Errorf("smtpd is %s %v", out, err)
	}
}

// Our daemons work as children of Postfix's master.
func TestRealMaster(t *testing.T) {
	in := mixed(t, func(name string) bool { return name == "master" })
	log := exchange(t, in)
	if !regexp.MustCompile(`master\[\d+\]: daemon started -- version 3\.7`).MatchString(log) {
		t.Errorf("Postfix's master does not run:\n%s", log)
	}
}

// Our logger takes the records of real programs, and theirs takes ours.
func TestRealLogger(t *testing.T) {
	log := exchange(t, mixed(t, func(name string) bool { return name == "postlogd" }))
	if !strings.Contains(log, "postfix/smtpd[") {
		t.Errorf("no records of our daemons:\n%s", log)
	}
	log = exchange(t, mixed(t, func(name string) bool { return name != "postlogd" && name != "master" }))
	if !strings.Contains(log, "postfix/smtpd[") {
		t.Errorf("no records of Postfix's daemons:\n%s", log)
	}
}
