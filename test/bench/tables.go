package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Sizes of what is measured.
const (
	tableEntries  = 1_000_000
	tableLookups  = 200_000
	patternRules  = 1000
	patternKeys   = 2000
	settingsLines = 5000
)

// The metrics of tables and of main.cf. Those with a limit are about Suffix
// alone.
var (
	hashRate   = metric{name: "hash: lookups per second, postmap -q -", unit: "1/s", required: 1.5, atLeast: true}
	pebbleRate = metric{name: "pebble (Postfix: hash): lookups per second", unit: "1/s", required: 1.5, atLeast: true}
	hashBuild  = metric{name: "hash: building 1,000,000 entries", unit: "s", required: 0.5}
	sstBuild   = metric{name: "pebble (Postfix: hash): the same", unit: "s", required: 0.5}
	buildRSS   = metric{name: "hash: memory for building", unit: "MB", limit: 500}
	sstRSS     = metric{name: "pebble (Postfix: hash): memory for building", unit: "MB", limit: 500}
	hashOpen   = metric{name: "hash: opening 1,000,000 entries", unit: "ms", limit: 5}
	sstOpen    = metric{name: "pebble (Postfix: hash): opening", unit: "ms", limit: 5}
	regexpTime = metric{name: "regexp, 1,000 patterns: a lookup", unit: "us", required: 1}
	postconfH  = metric{name: "wall time of postconf -h NAME", unit: "ms", required: 0.6}
	longMain   = metric{name: "postconf -h with 5,000 lines of main.cf", unit: "ms", limit: 30}
)

// tables measures lookup tables through postmap, and the reading of main.cf.
// Tables are built in the first round.
func tables(s *suite, _ options, res *results) error {
	b := &tableBench{suite: s, dir: filepath.Join(s.in.Dir, "tables")}
	first := os.Mkdir(b.dir, 0o755) == nil
	if first {
		if err := b.sources(); err != nil {
			return err
		}
		if err := b.build(res); err != nil {
			return err
		}
	}
	for _, step := range []func(*results) error{b.lookups, b.patterns, b.open, b.settings} {
		if err := step(res); err != nil {
			return err
		}
	}
	return nil
}

type tableBench struct {
	*suite
	dir string
}

func (b *tableBench) path(name string) string { return filepath.Join(b.dir, name) }

func entryKey(i int) string { return fmt.Sprintf("user%d@domain%d.example.com", i, i%1000) }

// sources writes what the tables are made of; the same for both suites.
func (b *tableBench) sources() error {
	// Not in memory: what this process has counts for the commands it starts.
	f, err := os.Create(b.path("big"))
	if err != nil {
		return err
	}
	defer f.Close()
	entries := bufio.NewWriter(f)
	for i := range tableEntries {
		fmt.Fprintf(entries, "%s\tvalue%d\n", entryKey(i), i)
	}
	if err := entries.Flush(); err != nil {
		return err
	}
	chance := rand.New(rand.NewPCG(1, 2))
	var keys, rules, lines, one bytes.Buffer
	for range tableLookups {
		fmt.Fprintln(&keys, entryKey(chance.IntN(tableEntries)))
	}
	words := []string{"spam", "viagra", "casino", "lottery", "invoice", "winner", "meds", "loan", "click", "offer"}
	word := func() string { return words[chance.IntN(len(words))] }
	for i := range patternRules {
		pattern := [...]string{
			fmt.Sprintf(`/^Subject: .*%s%d/`, word(), i),
			fmt.Sprintf(`/^(From|To): .*@%s%d\.example\.(com|net)/`, word(), i),
			fmt.Sprintf(`/%s[0-9]+x%d/`, word(), i),
			fmt.Sprintf(`/^Received: .*\[10\.%d\.[0-9]+\.[0-9]+\]/`, i%250),
			fmt.Sprintf(`/\.%s%d\.(exe|scr|pif)$/`, word(), i),
		}[i%5]
		fmt.Fprintf(&rules, "%s REJECT rule %d\n", pattern, i)
	}
	for i := range patternKeys {
		fmt.Fprintln(&lines, [...]string{
			fmt.Sprintf("Subject: hello, a message about %s number %d", word(), chance.IntN(3*patternRules)),
			fmt.Sprintf("From: user%d@host%d.example.org", i, i),
			fmt.Sprintf("Received: from mail%d.example.org (mail [192.168.%d.7]) by mx.example.com (Postfix) with ESMTP id 4ABC%d", i, i%256, i),
			entryKey(i),
			fmt.Sprintf("X-Header-%d: some value with dots file.%s%d.exe", i, word(), chance.IntN(patternRules)),
		}[chance.IntN(5)])
	}
	fmt.Fprintln(&one, "nothing like the patterns")
	var settings bytes.Buffer
	for i := range settingsLines / 2 {
		fmt.Fprintf(&settings, "bench_setting_%d = value%d.$myhostname\n", i, i)
	}
	settings.WriteString("relay_domains =\n")
	for i := range settingsLines / 2 {
		fmt.Fprintf(&settings, "  $bench_setting_%d\n", i)
	}
	settings.WriteString("myhostname = bench.test\ncompatibility_level = 3.6\n")
	if err := os.Mkdir(b.path("long"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]*bytes.Buffer{"big": nil, "keys": &keys, "rules": &rules, "lines": &lines, "one": &one, "long/main.cf": &settings, "long/master.cf": {}} {
		if text != nil {
			if err := os.WriteFile(b.path(name), text.Bytes(), 0o644); err != nil {
				return err
			}
		}
		// What was just written makes readers wait until it is old enough.
		if err := os.Chtimes(b.path(name), time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			return err
		}
	}
	return nil
}

// usage is what a command took.
type usage struct {
	wall time.Duration
	rss  float64 // MB
}

// postmap runs the command; input is the name of a file, or empty.
func (b *tableBench) postmap(input string, args ...string) (usage, error) {
	return b.command("postmap", input, args...)
}

func (b *tableBench) command(name, input string, args ...string) (u usage, err error) {
	cmd := b.in.Command(name, args...)
	if input != "" {
		f, err := os.Open(b.path(input))
		if err != nil {
			return u, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	var messages strings.Builder
	cmd.Stderr = &messages
	start := time.Now()
	err = cmd.Run()
	u.wall = time.Since(start)
	// postmap -q - ends with 1 where no key was found.
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() > 1 || messages.Len() > 0 {
		return u, fmt.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, messages.String())
	}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.rss = float64(r.Maxrss) / 1024
	}
	return u, nil
}

// middle is the median wall time of some runs, in milliseconds.
func (b *tableBench) middle(runs int, name, input string, args ...string) (float64, error) {
	var times []float64
	for range runs {
		u, err := b.command(name, input, args...)
		if err != nil {
			return 0, err
		}
		times = append(times, float64(u.wall.Microseconds())/1000)
	}
	return median(times), nil
}

func (b *tableBench) build(res *results) error {
	hash, err := b.postmap("", "hash:"+b.path("big"))
	if err != nil {
		return err
	}
	sst := hash
	if b.name == suffixSuite {
		if sst, err = b.postmap("", "pebble:"+b.path("big")); err != nil {
			return err
		}
	}
	res.add(b.name, hashBuild, hash.wall.Seconds())
	res.add(b.name, buildRSS, hash.rss)
	res.add(b.name, sstBuild, sst.wall.Seconds())
	res.add(b.name, sstRSS, sst.rss)
	return nil
}

// pebble is the table that stands against Postfix's hash table.
func (b *tableBench) pebble() string {
	if b.name == suffixSuite {
		return "pebble:" + b.path("big")
	}
	return "hash:" + b.path("big")
}

func (b *tableBench) lookups(res *results) error {
	hash, err := b.postmap("keys", "-q", "-", "hash:"+b.path("big"))
	if err != nil {
		return err
	}
	sst := hash
	if b.name == suffixSuite {
		if sst, err = b.postmap("keys", "-q", "-", b.pebble()); err != nil {
			return err
		}
	}
	res.add(b.name, hashRate, tableLookups/hash.wall.Seconds())
	res.add(b.name, pebbleRate, tableLookups/sst.wall.Seconds())
	return nil
}

// patterns measures lookups without what a single one takes: the start.
func (b *tableBench) patterns(res *results) error {
	spec := "regexp:" + b.path("rules")
	start, err := b.middle(3, "postmap", "one", "-q", "-", spec)
	if err != nil {
		return err
	}
	all, err := b.middle(3, "postmap", "lines", "-q", "-", spec)
	if err != nil {
		return err
	}
	res.add(b.name, regexpTime, max(all-start, 0)*1000/patternKeys)
	return nil
}

// open measures one lookup in a large table, without the start of the command.
func (b *tableBench) open(res *results) error {
	start, err := b.middle(15, "postmap", "", "-q", entryKey(7), "static:value")
	if err != nil {
		return err
	}
	for _, t := range []struct {
		spec string
		m    metric
	}{{"hash:" + b.path("big"), hashOpen}, {b.pebble(), sstOpen}} {
		all, err := b.middle(15, "postmap", "", "-q", entryKey(7), t.spec)
		if err != nil {
			return err
		}
		res.add(b.name, t.m, max(all-start, 0))
	}
	return nil
}

func (b *tableBench) settings(res *results) error {
	short, err := b.middle(30, "postconf", "", "-h", "myhostname")
	if err != nil {
		return err
	}
	long, err := b.middle(10, "postconf", "", "-c", b.path("long"), "-h", "myhostname")
	if err != nil {
		return err
	}
	res.add(b.name, postconfH, short)
	res.add(b.name, longMain, long)
	return nil
}
