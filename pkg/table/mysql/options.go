package mysql

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

// defaultOptionFiles are read where option_file is not set.
var defaultOptionFiles = []string{"/etc/my.cnf", "/etc/mysql/my.cnf", "~/.my.cnf"}

const (
	maxOptionFiles = 100     // files that one file may include, directly or not
	maxOptionSize  = 1 << 20 // bytes of one file
)

// optionReader gathers the settings of some groups of option files, as MySQL's
// own clients read them. Names have "-" where a file says "_".
type optionReader struct {
	groups   []string
	settings map[string]string
	files    int
	quiet    bool // nobody has asked for these files
}

// readOptions reads the group [client] and its kin, and then group, of file or
// of the default files. Without a file and a group nothing is read.
func readOptions(file, group string) map[string]string {
	r := &optionReader{settings: make(map[string]string), groups: []string{"client", "client-server", "client-mariadb", group}}
	switch {
	case file != "":
		r.read(file)
	case group != "":
		r.quiet = true
		for _, path := range defaultOptionFiles {
			if home, ok := strings.CutPrefix(path, "~"); ok {
				path = os.Getenv("HOME") + home
			}
			r.read(path)
		}
	}
	return r.settings
}

func (r *optionReader) read(path string) {
	if r.files++; r.files > maxOptionFiles {
		return
	}
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxOptionSize) {
		return
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		if !r.quiet && !errors.Is(err, fs.ErrNotExist) {
			maillog.Warnf("open %s: %s", path, syserr.Text(err))
		}
		return
	}
	r.parse(string(text))
}

// parse takes the text of a file. What is not understood is skipped: other
// programs' groups may have it.
func (r *optionReader) parse(text string) {
	wanted := false
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			name, _, _ := strings.Cut(line[1:], "]")
			name = strings.TrimSpace(name)
			wanted = name != "" && slices.Contains(r.groups, name)
		case line[0] == '!':
			word, path, _ := strings.Cut(line, " ")
			r.include(word, strings.TrimSpace(path))
		case wanted:
			name, value, _ := strings.Cut(line, "=")
			name = strings.ReplaceAll(strings.TrimSpace(name), "_", "-")
			r.settings[name] = optionValue(value)
		}
	}
}

func (r *optionReader) include(word, path string) {
	switch word {
	case "!include":
		r.read(path)
	case "!includedir":
		found, err := filepath.Glob(filepath.Join(path, "*.cnf"))
		if err != nil {
			return // a directory with pattern characters in its name
		}
		for _, file := range found {
			r.read(file)
		}
	}
}

// optionValue takes comments, quotes and escapes off a value.
func optionValue(text string) string {
	text = strings.TrimSpace(text)
	if n := len(text); n > 0 && (text[0] == '"' || text[0] == '\'') {
		if end := strings.IndexByte(text[1:], text[0]); end >= 0 {
			return unescape(text[1 : 1+end])
		}
	}
	if at := strings.Index(text, " #"); at >= 0 {
		text = text[:at]
	}
	return unescape(strings.TrimSpace(text))
}

// unescape resolves \n and its kin; other backslashes stay.
func unescape(text string) string {
	return strings.NewReplacer(`\b`, "\b", `\t`, "\t", `\n`, "\n", `\r`, "\r", `\\`, `\`, `\s`, " ", `\"`, `"`, `\'`, "'").Replace(text)
}
