// Bench puts the same load on Debian's Postfix and on Suffix, in turn, in one
// run and several rounds, and prints what each did and the ratios.
//
// It measures: messages per second relayed (20 sessions in, 4 kB each, one
// sink), processor time of the whole suite for a message, memory with open
// sessions, sessions set up per second, the wall time of sendmail, and the
// start time of commands; lookup tables of a million entries and of a thousand
// patterns, and a long main.cf. Memory is the proportional set size of all processes
// below master.
//
// It runs as root, with Debian's postfix installed but not running.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	o := options{}
	flag.StringVar(&o.bin, "bin", "bin", "directory with our programs")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each suite is measured")
	flag.IntVar(&o.messages, "messages", 3000, "messages in a round")
	flag.IntVar(&o.sessions, "sessions", 3000, "sessions in a round of session set-up")
	flag.BoolVar(&o.strict, "strict", false, "exit with 1 when a required ratio is missed")
	flag.StringVar(&o.only, "only", "", "measure only those whose names contain this")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	bin                        string
	rounds, messages, sessions int
	strict                     bool
	only                       string
}

// A metric is one thing that is measured.
type metric struct {
	name     string
	unit     string
	required float64 // the ratio ours/Postfix that is asked for
	atLeast  bool    // required is a lower bound; otherwise an upper one
	limit    float64 // upper bound of our own value, whatever Postfix's is
}

// The metrics, with what is required of the ratio; 0 is only shown.
var (
	throughput = metric{name: "messages relayed per second", unit: "msg/s", required: 1.5, atLeast: true}
	cpu        = metric{name: "processor time for a message", unit: "ms", required: 0.5}
	setup      = metric{name: "sessions set up per second", unit: "1/s", required: 1.3, atLeast: true}
	memIdle    = metric{name: "memory, idle suite", unit: "kB"}
	mem100     = metric{name: "memory with 100 sessions in transaction", unit: "kB", required: 0.2}
	memMore    = metric{name: "memory for each further session up to 500", unit: "kB"}
	mem1000    = metric{name: "memory with 1000 sessions", unit: "kB"}
	sendmail   = metric{name: "wall time of sendmail", unit: "ms", required: 0.7}
)

// results collects measurements of the two suites.
type results struct {
	order  []metric
	values map[string]map[string][]float64
}

func (r *results) add(suite string, m metric, value float64) {
	if r.values[m.name] == nil {
		r.values[m.name] = make(map[string][]float64)
		r.order = append(r.order, m)
	}
	r.values[m.name][suite] = append(r.values[m.name][suite], value)
	fmt.Printf("  %-8s %-45s %10.2f %s\n", suite, m.name, value, m.unit)
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// print shows the medians and ratios, and says whether all requirements hold.
func (r *results) print() bool {
	ok := true
	fmt.Printf("\n%-46s %12s %12s %8s  %s\n", "median of each", "Postfix", "Suffix", "ratio", "required")
	for _, m := range r.order {
		theirs, ours := median(r.values[m.name][postfixSuite]), median(r.values[m.name][suffixSuite])
		ratio := 0.0
		if theirs > 0 {
			ratio = ours / theirs
		}
		verdict := ""
		if m.required > 0 {
			met := m.atLeast && ratio >= m.required || !m.atLeast && ratio <= m.required
			sign, word := "<=", "met"
			if m.atLeast {
				sign = ">="
			}
			if !met {
				word, ok = "MISSED", false
			}
			verdict = fmt.Sprintf("%s %.2f %s", sign, m.required, word)
		}
		if m.limit > 0 {
			word := "met"
			if ours > m.limit {
				word, ok = "MISSED", false
			}
			verdict = fmt.Sprintf("Suffix <= %g %s %s", m.limit, m.unit, word)
		}
		fmt.Printf("%-46s %12.2f %12.2f %8.2f  %s\n", m.name+" ("+m.unit+")", theirs, ours, ratio, verdict)
	}
	return ok
}

func run(o options) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("needs root: Debian's Postfix runs only as root")
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "suffix-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	res := &results{values: make(map[string]map[string][]float64)}
	for round := 1; round <= o.rounds; round++ {
		fmt.Printf("round %d\n", round)
		for _, name := range []string{postfixSuite, suffixSuite} {
			s, err := newSuite(name, filepath.Join(dir, name), bin)
			if err != nil {
				return err
			}
			if err := measure(s, o, res); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if !res.print() && o.strict {
		return fmt.Errorf("a requirement was missed")
	}
	return nil
}

// measure takes all measurements of one suite once.
func measure(s *suite, o options, res *results) (err error) {
	if err := s.start(); err != nil {
		return err
	}
	defer func() {
		if stopErr := s.stop(); err == nil {
			err = stopErr
		}
	}()
	steps := []struct {
		name string
		f    func(*suite, options, *results) error
	}{
		{"relay", relay}, {"setup", setUpSessions}, {"memory", memory}, {"commands", commands}, {"tables", tables},
	}
	for _, step := range steps {
		if !strings.Contains(step.name, o.only) {
			continue
		}
		if err := step.f(s, o, res); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}
