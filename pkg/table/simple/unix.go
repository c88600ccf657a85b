package simple

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// unix: the system's users and groups, from their files.
type unixTable struct {
	base
	table.Trusted
	path, title string
	fields      int
}

// Paths of the system's databases; tests replace them.
var passwdPath, groupPath = "/etc/passwd", "/etc/group"

func openUnix(typ, name string, o table.Options) (table.Table, error) {
	if err := readOnly(typ, name, o); err != nil {
		return nil, err
	}
	t := &unixTable{base: base{typ + ":" + name}}
	switch name {
	case "passwd.byname":
		t.path, t.title, t.fields = passwdPath, "password", 7
	case "group.byname":
		t.path, t.title, t.fields = groupPath, "group", 4
	default:
		return nil, fmt.Errorf("unknown table: %s:%s", typ, name)
	}
	return t, nil
}

func (t *unixTable) Fixed() bool { return true }

// Lookup returns the line of a user or group.
func (t *unixTable) Lookup(key string) (string, bool, error) {
	if strings.ContainsAny(key, ":\n") || key == "" || key[0] == '+' || key[0] == '-' {
		return "", false, nil
	}
	f, err := os.Open(t.path)
	if err != nil {
		maillog.Warnf("cannot access UNIX %s database: %s", t.title, syserr.Text(err))
		return "", false, &table.Error{Err: err}
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, key); ok && strings.HasPrefix(rest, ":") && strings.Count(line, ":") == t.fields-1 {
			return line, true, nil
		}
	}
	if err := lines.Err(); err != nil {
		maillog.Warnf("cannot access UNIX %s database: %s", t.title, syserr.Text(err))
		return "", false, &table.Error{Err: err}
	}
	return "", false, nil
}
