package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc, fixed in the kernel's interface.
const clockTick = 10 * time.Millisecond

// A process is one line of /proc/PID/stat.
type process struct {
	pid, parent int
	cpu         time.Duration // own time, and that of children that have ended
}

// processes returns those below and including root.
func processes(root int) ([]process, error) {
	all := make(map[int]process)
	children := make(map[int][]int)
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		p, err := parseStat(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all[p.pid] = p
		children[p.parent] = append(children[p.parent], p.pid)
	}
	var below []process
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		if p, ok := all[todo[0]]; ok {
			below = append(below, p)
			todo = append(todo, children[p.pid]...)
		}
	}
	return below, nil
}

func parseStat(text string) (p process, err error) {
	open, closing := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || closing < 0 {
		return p, fmt.Errorf("unexpected form")
	}
	if p.pid, err = strconv.Atoi(strings.TrimSpace(text[:open])); err != nil {
		return p, err
	}
	fields := strings.Fields(text[closing+1:])
	if len(fields) < 15 {
		return p, fmt.Errorf("too few fields")
	}
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return p, err
	}
	for _, field := range fields[11:15] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return p, err
		}
		p.cpu += time.Duration(ticks) * clockTick
	}
	return p, nil
}

// cpuTime is the processor time of a whole suite so far.
func (s *suite) cpuTime() (time.Duration, error) {
	root, err := s.master()
	if err != nil {
		return 0, err
	}
	list, err := processes(root)
	var sum time.Duration
	for _, p := range list {
		sum += p.cpu
	}
	return sum, err
}

// pss is the memory of a whole suite, in kB.
func (s *suite) pss() (int, error) {
	root, err := s.master()
	if err != nil {
		return 0, err
	}
	list, err := processes(root)
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, p := range list {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			continue // it has ended meanwhile
		}
		for line := range bytes.Lines(text) {
			if rest, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
				kB, err := strconv.Atoi(strings.Fields(string(rest))[0])
				if err != nil {
					return 0, err
				}
				sum += kB
			}
		}
	}
	return sum, nil
}
