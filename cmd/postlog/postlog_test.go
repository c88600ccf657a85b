package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// postlog is built and run as its users run it.
func postlog(t *testing.T, mainCF string, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "postlog")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(mainCF), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+dir)
	return cmd
}

// A descriptor that the caller left open does not stay open in the program.
func TestDescriptorsAreClosed(t *testing.T) {
	cmd := postlog(t, "maillog_file = /dev/stdout\n")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	// The program waits for input meanwhile.
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Errorf("%q %v", b, err)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Neither text nor tag makes a second record.
func TestOneLine(t *testing.T) {
	cmd := postlog(t, "compatibility_level = 3.6\n", "-t", "tag\nforged", "text\nforged\r")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "forged") {
			t.Errorf("output %q", out)
		}
	}
}
