package maptool

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

// searcher looks up keys in tables that it opens when they are needed.
type searcher struct {
	*tool
	specs  []string
	tables []*table.Handle
}

// find returns the value of the first table that has the key.
func (s *searcher) find(key string) (value string, found bool, err error) {
	for i, spec := range s.specs {
		if s.tables[i] == nil {
			if s.tables[i], err = s.open(spec, table.Options{}); err != nil {
				return "", false, err
			}
		}
		h := s.tables[i]
		value, found, err = h.Lookup(key)
		if err != nil {
			return "", false, failed(h, "query", err)
		}
		if !found {
			continue
		}
		if value == "" {
			name := spec
			if s.key == "-" {
				name = h.Name()
			}
			maillog.Warnf("table %s: key %s: empty string result is not allowed", name, key)
			maillog.Warnf("table %s should return NO RESULT in case of NOT FOUND", name)
		}
		if s.files {
			if value, err = table.DecodeFileValue(value); err != nil {
				maillog.Warnf("table %s: key %s: %s", h.Name(), key, err)
				return "", false, failed(h, "query", &table.Error{Config: true})
			}
		}
		return value, true, nil
	}
	return "", false, nil
}

// query handles -q: the exit status tells whether any key was found.
func (t *tool) query(specs []string) (status int, err error) {
	s := &searcher{t, specs, make([]*table.Handle, len(specs))}
	if t.key != "-" {
		value, found, err := s.find(t.key)
		if err != nil || !found {
			return 1, err
		}
		if t.json {
			t.entry(t.key, value)
		} else {
			t.out.WriteString(value)
			t.out.WriteByte('\n')
		}
		return 0, nil
	}
	status = 1
	look := func(key string) error {
		value, found, err := s.find(key)
		if found && err == nil {
			status = 0
			t.entry(key, value)
		}
		return err
	}
	if t.bodies || t.headers {
		err = t.message(t.in, look)
	} else {
		err = eachLine(t.in, look)
	}
	return status, err
}

// eachLine calls f with each line of a stream.
func eachLine(r io.Reader, f func(line string) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for {
		chunk, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, chunk...)
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read standard input: %w", err)
		}
		if len(long) > 0 {
			chunk = append(long, chunk...)
			long = long[:0]
		}
		if len(chunk) == 0 {
			return nil
		}
		if n := len(chunk); chunk[n-1] == '\n' {
			chunk = chunk[:n-1]
		}
		if err := f(string(chunk)); err != nil {
			return err
		}
	}
}

// entry prints a key and its value.
func (t *tool) entry(key, value string) {
	switch {
	case t.json:
		t.out.WriteString("{")
		t.quoted(key)
		t.out.WriteString(": ")
		t.quoted(value)
		t.out.WriteString("}\n")
		return
	case t.alias:
		t.out.WriteString(key)
		t.out.WriteString(":\t")
	default:
		t.out.WriteString(key)
		t.out.WriteByte('\t')
	}
	t.out.WriteString(value)
	t.out.WriteByte('\n')
}

// quoted prints a JSON string. Bytes that are no ASCII stay as they are.
func (t *tool) quoted(s string) {
	t.out.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\b':
			t.out.WriteString(`\b`)
		case '\f':
			t.out.WriteString(`\f`)
		case '\n':
			t.out.WriteString(`\n`)
		case '\r':
			t.out.WriteString(`\r`)
		case '\t':
			t.out.WriteString(`\t`)
		case '"', '\\':
			t.out.WriteByte('\\')
			t.out.WriteByte(c)
		default:
			if c < ' ' || c == 0x7f {
				fmt.Fprintf(t.out, `\u%04X`, c)
			} else {
				t.out.WriteByte(c)
			}
		}
	}
	t.out.WriteByte('"')
}

// list handles -s.
func (t *tool) list(spec string) error {
	h, err := t.open(spec, table.Options{})
	if err != nil {
		return err
	}
	c, err := h.Cursor()
	if err != nil {
		return failed(h, "sequence", err)
	}
	for {
		key, value, ok, err := c.Next()
		if err != nil {
			return failed(h, "sequence", err)
		}
		if !ok {
			return nil
		}
		if key == "" {
			maillog.Warnf("table %s: empty lookup key value is not allowed", spec)
		} else if value == "" {
			maillog.Warnf("table %s: key %s: empty string result is not allowed", spec, key)
			maillog.Warnf("table %s should return NO RESULT in case of NOT FOUND", spec)
		}
		if t.files {
			decoded, err := table.DecodeFileValue(value)
			if err != nil {
				maillog.Warnf("table %s: key %s: %s", h.Name(), key, err)
				continue
			}
			value = decoded
		}
		t.entry(key, value)
	}
}

// remove handles -d: all tables are tried.
func (t *tool) remove(specs []string) (status int, err error) {
	tables := make([]*table.Handle, len(specs))
	for i, spec := range specs {
		if tables[i], err = t.open(spec, table.Options{Mode: table.ReadWrite, Existing: true, Flags: table.BulkUpdate}); err != nil {
			return 1, err
		}
	}
	status = 1
	remove := func(key string) error {
		for _, h := range tables {
			found, err := h.Delete(key)
			if err != nil {
				return failed(h, "delete", err)
			}
			if found {
				status = 0
			}
		}
		return nil
	}
	if t.key == "-" {
		err = eachLine(t.in, remove)
	} else {
		err = remove(t.key)
	}
	for _, h := range tables {
		if closeErr := h.Close(); err == nil {
			err = closeErr
		}
	}
	return status, err
}
