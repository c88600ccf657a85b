// Package programs builds all commands and daemons of the mail system into a
// directory, for tests that run them.
package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build puts the commands into dir and the daemons into its subdirectory
// libexec, as "make build" does. It works from any directory of the module.
func Build(dir string) error {
	libexec := filepath.Join(dir, "libexec")
	if err := os.MkdirAll(libexec, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-o", libexec + "/", "suffix/libexec/suffixd", "suffix/libexec/heavy"},
		{"-o", dir + "/", "suffix/cmd/..."},
	} {
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags", "-s -w"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", args[len(args)-1], err, out)
		}
	}
	for _, name := range []string{"mailq", "newaliases"} {
		if err := relink(os.Symlink, "sendmail", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"suffixd", "heavy"} {
		all := filepath.Join(libexec, name)
		names, err := exec.Command(all, "--names").Output()
		if err != nil {
			return fmt.Errorf("%s --names: %w", all, err)
		}
		for name := range strings.FieldsSeq(string(names)) {
			if err := relink(os.Link, all, filepath.Join(libexec, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// relink makes a link, in the place of an older one.
func relink(link func(from, to string) error, from, to string) error {
	if err := os.Remove(to); err != nil && !os.IsNotExist(err) {
		return err
	}
	return link(from, to)
}
