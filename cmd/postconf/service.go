package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/syserr"
)

// Fields of a service, in the order of master.cf.
const (
	fieldService = iota
	fieldType
	fieldPrivate
	fieldUnprivileged
	fieldChroot
	fieldWakeup
	fieldLimit
	fieldCommand // the command with all its arguments
	fieldCount
)

var fieldNames = [fieldCount]string{"service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"}

// A word is one argument of a service's command.
type word struct {
	text   string
	option bool // one of the leading words that start with -
	value  bool // the name=value of a -o in front of it
}

// A service is an entry of master.cf.
type service struct {
	fields [fieldCount]string // fieldCommand: the program alone
	args   []word
	params *serviceParams
}

// serviceParams holds the -o settings of a service; entries with the same
// name and type share one.
type serviceParams struct {
	settings map[string]string
	user     map[string]bool // user-defined names that are in use
}

func (s *service) key() string { return s.fields[fieldService] + "/" + s.fields[fieldType] }

// readMaster reads master.cf. Without it only the display of master.cf cannot do.
func (p *postconf) readMaster(required bool) error {
	path := p.dir + "/master.cf"
	text, err := os.ReadFile(path)
	if err != nil {
		err = fmt.Errorf("open %s: %s", path, syserr.Text(err))
		if required {
			return err
		}
		p.warn(err.Error())
		return nil
	}
	shared := make(map[string]*serviceParams)
	lines := config.NewLines(path, string(text), p.warn)
	for {
		line, number, ok := lines.Next()
		if !ok {
			return nil
		}
		s, err := p.parseService(line)
		if err != nil {
			if errors.Is(err, errFieldCount) {
				return fmt.Errorf("file %s: line %d: %w", path, number, err)
			}
			return err
		}
		if s.params = shared[s.key()]; s.params == nil {
			s.params = &serviceParams{settings: make(map[string]string), user: make(map[string]bool)}
			shared[s.key()] = s.params
		}
		s.eachParam(func(name, value string) { s.params.settings[name] = value })
		p.services = append(p.services, s)
	}
}

var errFieldCount = errors.New("bad field count")

// parseService reads an entry and brings its arguments into normal form.
func (p *postconf) parseService(line string) (*service, error) {
	s := &service{}
	rest := line
	for i := range s.fields {
		rest = strings.TrimLeft(rest, " \t\r\n")
		n := strings.IndexFunc(rest, isBlank)
		if n < 0 {
			n = len(rest)
		}
		if n == 0 {
			return nil, errFieldCount
		}
		if i == fieldCommand {
			n = len(rest)
		}
		s.fields[i], rest = rest[:n], rest[n:]
	}
	words := config.SplitBraceBlank(s.fields[fieldCommand])
	s.fields[fieldCommand] = words[0]
	for i := fieldType; i < fieldCommand; i++ {
		if err := checkField(i, s.fields[i], strings.ReplaceAll(line, "\n", " ")); err != nil {
			return nil, err
		}
	}
	s.args = p.normalize(words[1:])
	return s, nil
}

// checkField tells whether a value may stand in a field; entry is shown in the error.
func checkField(field int, value, entry string) error {
	good := false
	switch field {
	case fieldType:
		switch value {
		case "inet", "unix", "unix-dgram", "fifo", "pass":
			good = true
		}
	case fieldPrivate, fieldUnprivileged, fieldChroot:
		good = value == "y" || value == "n" || value == "-"
	case fieldWakeup:
		number := strings.TrimSuffix(value, "?")
		good = number == "-" || allDigits(number)
	case fieldLimit:
		good = value == "-" || allDigits(value)
	default:
		return nil
	}
	if !good {
		return fmt.Errorf("invalid %s field \"%s\" in \"%s\"", fieldNames[field], value, entry)
	}
	return nil
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// normalize separates option letters from their values and takes the braces
// off arguments, as the daemon that gets them would.
func (p *postconf) normalize(words []string) (args []word) {
	for len(words) > 0 && len(words[0]) > 1 && words[0][0] == '-' {
		w := words[0]
		words = words[1:]
		if w == "--" {
			args = append(args, word{text: w, option: true})
			break
		}
		at := strings.IndexByte(w, 'o')
		if at < 0 {
			args = append(args, word{text: w, option: true})
			continue
		}
		if at > 1 {
			args = append(args, word{text: w[:at], option: true})
		}
		args = append(args, word{text: "-o", option: true})
		value := w[at+1:]
		if value == "" {
			if len(words) == 0 {
				break
			}
			value, words = words[0], words[1:]
		}
		args = append(args, word{text: p.normalizeParam(value), option: true, value: true})
	}
	for _, w := range words {
		args = append(args, word{text: p.unwrap(w)})
	}
	return args
}

// normalizeParam returns the value of a -o option as name=value.
func (p *postconf) normalizeParam(text string) string {
	if text[0] != '{' {
		return text
	}
	text = p.unwrap(text)
	name, value, problem := config.SplitNameValue(text)
	if problem != "" {
		p.warn("master.cf: " + problem + ": \"" + text + "\"")
		return text
	}
	return name + "=" + value
}

func (p *postconf) unwrap(text string) string {
	if text[0] != '{' {
		return text
	}
	inner, problem := config.Unwrap(text)
	if problem != "" {
		p.warn("master.cf: " + problem)
	}
	return strings.TrimRightFunc(inner, isBlank)
}

// eachParam visits the -o settings in their order.
func (s *service) eachParam(visit func(name, value string)) {
	for _, w := range s.args {
		if !w.value {
			continue
		}
		if name, value, problem := config.SplitNameValue(w.text); problem == "" {
			visit(name, value)
		}
	}
}

// shown is a word as it stands in a file: in braces where it has blanks.
// first says that it is the first word that is no option: there braces inside
// the word are enough.
func (w word) shown(first bool) string {
	if first && w.text != "" && w.text[0] != '{' && len(config.SplitBraceBlank(w.text)) == 1 {
		return w.text
	}
	if (w.value || !w.option) && strings.ContainsFunc(w.text, isBlank) || w.text == "" {
		return "{" + w.text + "}"
	}
	return w.text
}

// Columns of the fields of an entry.
var fieldColumns = [fieldCount]int{0, 11, 17, 25, 33, 41, 49, 57}

// text returns the entry as it stands in a file, without line feed at its end.
func (s *service) text(fold bool) string {
	var b strings.Builder
	for i, column := range fieldColumns {
		if i > 0 {
			b.WriteByte(' ')
			for b.Len() < column {
				b.WriteByte(' ')
			}
		}
		b.WriteString(s.fields[i])
	}
	s.writeArgs(&b, b.Len(), fold)
	return b.String()
}

// command returns the command with its arguments. column says where on the
// line it starts; 0 on a line of its own.
func (s *service) command(column int, fold bool) string {
	var b strings.Builder
	name := s.fields[fieldCommand]
	if fold && column > 0 && column+len(name) > lineWidth {
		b.WriteString("\n" + foldIndent)
		column = len(foldIndent)
	}
	b.WriteString(name)
	s.writeArgs(&b, column+len(name), fold)
	return b.String()
}

func (s *service) writeArgs(b *strings.Builder, column int, fold bool) {
	afterParam, plain := false, 0
	for i := 0; i < len(s.args); i++ {
		w := s.args[i]
		if !w.option {
			plain++
		}
		text, width := w.shown(plain == 1 && !w.option), len(w.text)
		isParam := w.text == "-o" && w.option && !w.value && i+1 < len(s.args) && s.args[i+1].value
		if isParam {
			i++
			text += " " + s.args[i].shown(false)
			width = len(text)
		}
		if fold && (isParam || afterParam || column+1+width >= lineWidth) {
			b.WriteString("\n" + foldIndent)
			column = len(foldIndent)
		} else {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(text)
		column += len(text)
		afterParam = isParam
	}
}
