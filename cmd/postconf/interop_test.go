//go:build interop

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// theirs is the postconf of the Postfix that is installed.
const theirs = "/usr/sbin/postconf"

// A comparison is a run of both programs, each in a directory of its own.
type comparison struct {
	main, master string
	files        map[string]string // further ones; @D@ in a text becomes the directory
	args         []string
	appended     int // that many last lines of main.cf may come in any order: 3.7 appends at random
}

// outcome is what one of the two made of it.
type outcome struct {
	result
	main, master string // files afterwards
}

func (c *comparison) run(t *testing.T, program, dir string) outcome {
	files := map[string]string{"main.cf": c.main, "master.cf": c.master}
	for name, text := range c.files {
		files[name] = text
	}
	for name, text := range files {
		files[name] = strings.ReplaceAll(text, "@D@", dir)
	}
	write(t, dir, files)
	args := slices.Clone(c.args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "@D@", dir)
	}
	o := outcome{result: command(t, program, dir, nil, args...)}
	for name, to := range map[string]*string{"main.cf": &o.main, "master.cf": &o.master} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		*to = strings.ReplaceAll(string(text), dir, "D")
	}
	lines := strings.Split(o.main, "\n")
	if n := len(lines) - 1; n >= c.appended {
		slices.Sort(lines[n-c.appended : n])
		o.main = strings.Join(lines, "\n")
	}
	return o
}

// difference is a known one between release 3.7, which is installed here, and
// 3.11, which we follow.
type difference struct {
	ours, theirs string // expressions; what they match goes away, or becomes the replacement
	replacement  string
	reason       string
}

var differences = []difference{
	{`specify one of .*`, `specify one of .*`, "specify one of", "the options are joined by comma and blank, not by a blank alone"},
	{``, `(?m)^postconf: ((name_mask|inet_addr_local|inet_addr_list_append|been_here|mynetworks_core|dict_\w+|mac_\w+|pcf_\w+|vstream_\w+): |skipping mynetworks setting).*\n`, "", "-v does not tell what happens within libraries"},
	{``, `(?m)^postconf: warning: ignoring earlier request: 'aa = b'\n`, "", "the same value again is not worth a warning"},
	{`(?m)-o \{\}$`, ``, "-o ", "an empty argument stays one"},
	{``, `^cyrus\ndovecot\n$`, "dovecot\n", "for a server we have no Cyrus library"},
	{` \[-j \(streaming JSON\) ]`, ``, "", "-j is new"},
	{`D/((main|master)\.cf(:[^ ]*)?: (missing '}'|syntax error after))`, ``, "$1", "the file stands with its directory"},
	{`(?m)^postconf: warning: D/(main|master)\.cf: support for parameter .*\n`, ``, "", "what is going away is warned about"},
	{`(?m)^postconf: warning: See https://www.postfix.org/DEPRECATION_README.html for details\n`, ``, "", "what is going away is warned about"},
	{`(?m)^postconf: warning: D/(main|master)\.cf: #comment after other text .*\n`, ``, "", "comments within values are warned about"},
}

type compiled struct{ ours, theirs *regexp.Regexp }

var compiledDifferences = sync.OnceValue(func() []compiled {
	list := make([]compiled, len(differences))
	for i, d := range differences {
		if d.ours != "" {
			list[i].ours = regexp.MustCompile(d.ours)
		}
		if d.theirs != "" {
			list[i].theirs = regexp.MustCompile(d.theirs)
		}
	}
	return list
})

func (o *outcome) normalize(expression func(compiled) *regexp.Regexp) {
	for i, c := range compiledDifferences() {
		if e := expression(c); e != nil {
			for _, text := range []*string{&o.out, &o.errs} {
				*text = e.ReplaceAllString(*text, differences[i].replacement)
			}
		}
	}
	o.errs = set(o.errs)
}

// set sorts lines and leaves out repeated ones. The reference walks its
// tables in random order and repeats a warning as often as it evaluates a
// value, which differs from run to run. What it has warned about before it
// gives up on an expression or a client file depends on chance, too.
func set(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for _, line := range lines {
		if atRandom.MatchString(line) {
			return line
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "")
}

var atRandom = regexp.MustCompile(`postconf: fatal: (.*macro processing error|.*client\.cf.*|unknown inet_protocols value .*)\n`)

// compare runs all comparisons, many at a time: one that ends in a fatal error
// sleeps for a second in the reference.
func compare(t *testing.T, list []comparison) {
	const workers = 32
	jobs := make(chan int)
	dirs := t.TempDir()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range jobs {
				c := &list[i]
				var both [2]outcome
				for k, program := range []string{"", theirs} {
					dir := filepath.Join(dirs, fmt.Sprintf("%04d%c", i, "ab"[k])) // of equal length: lines are folded
					if err := os.Mkdir(dir, 0o755); err != nil {
						t.Error(err)
						continue
					}
					both[k] = c.run(t, program, dir)
				}
				both[0].normalize(func(c compiled) *regexp.Regexp { return c.ours })
				both[1].normalize(func(c compiled) *regexp.Regexp { return c.theirs })
				if both[1].status < 0 && both[0].status >= 0 {
					continue // killed by a signal: 3.7 overruns its stack on circles, and forgets that a name to delete came twice
				}
				if both[0] != both[1] {
					t.Errorf("case %d: %q\nmain.cf %q\nmaster.cf %q\n%s", i, c.args, c.main, c.master, unlike(both[0], both[1]))
				}
			}
		})
	}
	for i := range list {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
}

// unlike shows the parts in which two outcomes differ.
func unlike(ours, theirs outcome) string {
	var b strings.Builder
	part := func(name, a, b2 string) {
		if a != b2 {
			b.WriteString(name + ":\n  ours   " + strings.ReplaceAll(a, "\n", "\n         ") + "\n  theirs " + strings.ReplaceAll(b2, "\n", "\n         ") + "\n")
		}
	}
	part("standard output", ours.out, theirs.out)
	part("standard error", ours.errs, theirs.errs)
	part("main.cf", ours.main, theirs.main)
	part("master.cf", ours.master, theirs.master)
	if ours.status != theirs.status {
		part("status", string(rune('0'+ours.status)), string(rune('0'+theirs.status)))
	}
	return b.String()
}
