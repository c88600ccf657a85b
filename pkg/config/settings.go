package config

import (
	"fmt"
	"syscall"
	"time"

	"suffix/pkg/syserr"
)

// A Setting is one name = value of a file; the value is not expanded.
type Setting struct {
	Name, Value string
	Line        int // number of its first physical line
}

// SplitNameValue takes "name = value" apart (spec config §2.2). A problem is
// told in Postfix's words: "missing attribute name", "missing '=' after
// attribute name"; it is empty when there is none.
func SplitNameValue(text string) (name, value, problem string) {
	text = skipSpace(text)
	n := 0
	for n < len(text) && !isSpace(text[n]) && text[n] != '=' {
		n++
	}
	name, text = text[:n], skipSpace(text[n:])
	switch {
	case name == "":
		return "", "", "missing attribute name"
	case text == "" || text[0] != '=':
		return name, "", "missing '=' after attribute name"
	}
	return name, trimSpace(text[1:]), ""
}

// ParseSettings reads settings in the grammar of main.cf (spec config §2), in
// the order of the text. A repeated name stands once in the result, with the
// later value; a different earlier value is warned about. warn may be nil.
func ParseSettings(path, text string, warn func(string)) ([]Setting, error) {
	return parseSettings(path, text, "", warn)
}

// parseSettings is ParseSettings for a file in which config_directory counts
// as set before, if dir is not empty.
func parseSettings(path, text, dir string, warn func(string)) ([]Setting, error) {
	lines := NewLines(path, text, warn)
	var list []Setting
	index := make(map[string]int)
	for {
		line, number, ok := lines.Next()
		if !ok {
			return list, nil
		}
		name, value, problem := SplitNameValue(line)
		if problem != "" {
			return nil, fmt.Errorf("%s, line %d: %s: %q", path, number, problem, quoted(line))
		}
		i, seen := index[name]
		if !seen {
			if dir != "" && name == "config_directory" && value != dir {
				lines.warnf("%s, line %d: overriding earlier entry: %s=%s", path, number, name, dir)
			}
			index[name] = len(list)
			list = append(list, Setting{name, value, number})
			continue
		}
		if old := list[i].Value; old != value {
			lines.warnf("%s, line %d: overriding earlier entry: %s=%s", path, number, name, old)
		}
		list[i].Value, list[i].Line = value, number
	}
}

// Rules for a file that may be half written (spec config §2.3).
const (
	hotPause  = 300 * time.Millisecond
	hotRounds = 10 // after that the file counts as finished
)

// ReadSettings reads a file of settings: main.cf, or the configuration of a
// table client. A file that changed within the last second may be half
// written: it is read again, up to three seconds long, until its age shows
// that it is whole. Only the last reading's warnings and error count.
func ReadSettings(path string, warn func(string)) ([]Setting, error) {
	return readSettings(path, "", warn)
}

func readSettings(path, dir string, warn func(string)) ([]Setting, error) {
	for round := 1; ; round++ {
		text, hot, err := readOnce(path)
		if err != nil {
			return nil, err
		}
		if hot && round < hotRounds {
			time.Sleep(hotPause)
			continue
		}
		return parseSettings(path, text, dir, warn)
	}
}

func readOnce(path string) (text string, hot bool, err error) {
	before := time.Now().Unix()
	fd, err := openPlain(path)
	if err != nil {
		return "", false, fmt.Errorf("open %s: %s", path, syserr.Text(err))
	}
	defer syscall.Close(fd)
	data, err := readAll(fd)
	if err != nil {
		return "", false, fmt.Errorf("read %s: %s", path, syserr.Text(err))
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return "", false, fmt.Errorf("fstat %s: %s", path, syserr.Text(err))
	}
	return string(data), before-1 <= st.Mtim.Sec && st.Mtim.Sec <= time.Now().Unix(), nil
}

// openPlain and readAll do without package os, which would set up its network
// poller for the first file: half of the system calls that a short command makes.
func openPlain(path string) (fd int, err error) {
	for {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

func readAll(fd int) ([]byte, error) {
	data := make([]byte, 0, 16<<10)
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := syscall.Read(fd, data[len(data):cap(data)])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return data, nil
		default:
			data = data[:len(data)+n]
		}
	}
}
