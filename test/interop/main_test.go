//go:build interop

package interop

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Where Debian has Postfix.
const (
	debianCommands = "/usr/sbin"
	debianDaemons  = "/usr/lib/postfix/sbin"
)

var (
	workDir string            // of this test run
	ours    map[string]string // our programs: name to executable
	theirs  map[string]string // Debian's
)

// commands are those of the admin and of other programs; the rest are daemons.
var commands = []string{"mailq", "newaliases", "postalias", "postcat", "postconf", "postdrop", "postfix", "postkick", "postlock",
	"postlog", "postmap", "postmulti", "postqueue", "postsuper", "sendmail"}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	if os.Getuid() != 0 {
		return 0, fmt.Errorf("the tests need root")
	}
	if workDir, err = os.MkdirTemp("/tmp", "interop-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(workDir)
	if err := os.Chmod(workDir, 0o755); err != nil {
		return 0, err
	}
	if err := findTheirs(); err != nil {
		return 0, fmt.Errorf("%w; prepare.sh installs what is needed", err)
	}
	if err := buildOurs(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func findTheirs() error {
	theirs = make(map[string]string)
	daemons, err := os.ReadDir(debianDaemons)
	if err != nil {
		return err
	}
	for _, d := range daemons {
		theirs[d.Name()] = filepath.Join(debianDaemons, d.Name())
	}
	for _, name := range commands {
		path := filepath.Join(debianCommands, name)
		if name == "mailq" || name == "newaliases" {
			path = filepath.Join("/usr/bin", name)
		}
		if _, err := os.Stat(path); err != nil {
			return err
		}
		theirs[name] = path
	}
	return nil
}

// buildOurs builds all programs of the working copy. The variable INTEROP_BIN
// names a directory that has them already.
func buildOurs() error {
	bin := os.Getenv("INTEROP_BIN")
	if bin == "" {
		bin = filepath.Join(workDir, "bin")
		if err := os.MkdirAll(filepath.Join(bin, "libexec"), 0o755); err != nil {
			return err
		}
		for out, pkg := range map[string][]string{bin: {"./cmd/..."}, filepath.Join(bin, "libexec"): {"./libexec/suffixd", "./libexec/heavy"}} {
			cmd := exec.Command("go", append([]string{"build", "-trimpath", "-o", out + "/"}, pkg...)...)
			cmd.Dir = "../.."
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("build: %w\n%s", err, out)
			}
		}
		for _, name := range []string{"postdrop", "postqueue", "postlog"} {
			if out, err := exec.Command("sh", "-c", "chgrp postdrop $1 && chmod 2755 $1", "sh", filepath.Join(bin, name)).CombinedOutput(); err != nil {
				return fmt.Errorf("set-gid: %w\n%s", err, out)
			}
		}
	}
	ours = make(map[string]string)
	for _, name := range []string{"suffixd", "heavy"} {
		all := filepath.Join(bin, "libexec", name)
		names, err := exec.Command(all, "--names").Output()
		if err != nil {
			return err
		}
		for _, name := range strings.Fields(string(names)) {
			ours[name] = all
		}
	}
	for _, name := range commands {
		path := filepath.Join(bin, name)
		if name == "mailq" || name == "newaliases" {
			path = filepath.Join(bin, "sendmail")
		}
		if _, err := os.Stat(path); err == nil {
			ours[name] = path
		}
	}
	return nil
}

// A choice says for each program whether it is ours.
type choice func(program string) bool

func postfixAlone(string) bool { return false }
func suffixAlone(string) bool  { return true }

// oursIn puts our program into Postfix.
func oursIn(programs ...string) choice {
	return func(p string) bool { return slices.Contains(programs, p) }
}

// theirsIn puts Postfix's program into our suite.
func theirsIn(programs ...string) choice {
	return func(p string) bool { return !slices.Contains(programs, p) }
}

// linkPrograms fills the directory bin with links to commands, and its
// subdirectory libexec with links to daemons.
func linkPrograms(bin string, c choice) error {
	if err := os.MkdirAll(filepath.Join(bin, "libexec"), 0o755); err != nil {
		return err
	}
	all := maps.Clone(theirs)
	for name := range ours {
		if _, ok := all[name]; !ok {
			all[name] = ours[name]
		}
	}
	for name, target := range all {
		if mine, ok := ours[name]; ok && c(name) {
			target = mine
		}
		link := filepath.Join(bin, "libexec", name)
		if slices.Contains(commands, name) {
			link = filepath.Join(bin, name)
		}
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return nil
}
