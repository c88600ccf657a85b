package nbdbreindexd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// enough lines of one kind tell what a source file is.
const enough = 10

// chooseProgram reads the first lines of a source file, as its user, and returns
// the program that can make a table of it.
func (o *owner) chooseProgram(path string) (program string, err error) {
	err = o.asUser(func() error {
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open %s: %s", path, syserr.Text(err))
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("stat %s: %s", path, syserr.Text(err))
		}
		if !os.SameFile(info, o.source) {
			return fmt.Errorf("'%s' was replaced meanwhile", path)
		}
		program, err = kind(f, path)
		return err
	})
	return program, err
}

// kind is postalias if more lines have the form "name: value" than the form
// "key value".
func kind(source io.Reader, path string) (program string, err error) {
	lines := table.NewLineReader(source, path)
	aliases, entries := 0, 0
	for aliases < enough && entries < enough {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %s", path, syserr.Text(err))
		}
		line = table.CutNUL(line)
		if isAlias(line) {
			aliases++
		}
		if isEntry(line) {
			entries++
		}
	}
	if aliases > entries {
		return "postalias", nil
	}
	return "postmap", nil
}

// isEntry says that a line is one for postmap. A key with a colon at its end is
// what postmap warns of.
func isEntry(line []byte) bool {
	key, value, closed := table.SplitKeyValue(line)
	return closed && len(key) > 0 && len(value) > 0 && key[len(key)-1] != ':'
}

// isAlias says that a line has a colon with something on both sides, and what is
// before it can be the name of an alias.
func isAlias(line []byte) bool {
	quoted, depth := false, 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth > 0:
		case c == ',' || c == '@' || c == '%':
			return false
		case c == ':':
			return len(bytes.TrimSpace(line[:i])) > 0 && len(bytes.TrimSpace(line[i+1:])) > 0
		}
	}
	return false
}
