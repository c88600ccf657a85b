package proxymap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	client "suffix/pkg/proxymapclient"
	"suffix/pkg/table"
)

func number(name, text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("malformed numerical data from proxymap socket while reading input attribute value: %.100s", text)
	}
	return int(n), nil
}

// reply is written in the form of the request.
func reply(w *attr.Writer, r request, status client.Status, flags table.Flags, more ...string) {
	w.Int("status", int(status))
	if r.kind == client.Open || !r.old {
		w.Int("flags", int(flags))
	}
	for i := 0; i+1 < len(more); i += 2 {
		// A value that cannot be sent is the table's fault.
		if strings.IndexByte(more[i+1], 0) >= 0 {
			more[i+1] = ""
		}
		w.Str(more[i], more[i+1])
	}
}

// known says whether a kind of request exists.
func known(kind string) bool {
	switch kind {
	case client.Open, client.Lookup, client.Update, client.Delete, client.Sequence, client.Reason:
		return true
	}
	return false
}

// blanks is what a reply has besides status and flags where it has no result.
func blanks(kind string) []string {
	switch kind {
	case client.Lookup:
		return []string{"value", ""}
	case client.Sequence:
		return []string{"key", "", "value", ""}
	}
	return nil
}

// answer writes the reply to a request.
func (s *session) answer(w *attr.Writer, r request) {
	if r.kind == client.Reason {
		s.explain(w)
		return
	}
	s.err = nil
	blank := blanks(r.kind)
	change := r.kind == client.Update || r.kind == client.Delete
	if !known(r.kind) {
		maillog.Warnf("unrecognized request: \"%s\", ignored", r.kind)
		w.Int("status", int(client.Bad))
		return
	}
	if change && !s.write {
		maillog.Warnf("refusing %s %s request on non-proxywrite service", r.table, r.kind)
		reply(w, r, client.Denied, 0, blank...)
		return
	}
	h, status := s.open(r)
	if h != nil {
		s.err = h.Err()
	}
	if status != client.OK {
		reply(w, r, status, 0, blank...)
		return
	}
	flags := table.Flags(r.flags|r.instance)&^(table.FixedKeys|table.PatternKeys) |
		h.Flags()&(table.FixedKeys|table.PatternKeys|table.Try0Null|table.Try1Null|table.MultiWriter|table.Surrogate)
	switch r.kind {
	case client.Open:
		reply(w, r, client.OK, flags)
	case client.Lookup:
		value, found, err := h.Lookup(r.key)
		if found && strings.IndexByte(value, 0) >= 0 {
			found, err = false, &table.Error{Config: true}
		}
		reply(w, r, s.outcome(found, err), flags, "value", value)
	case client.Update:
		reply(w, r, s.outcome(true, h.Update(r.key, r.value)), flags)
	case client.Delete:
		found, err := h.Delete(r.key)
		reply(w, r, s.outcome(found, err), flags)
	case client.Sequence:
		if r.function != client.First && r.function != client.Next {
			reply(w, r, client.Bad, flags, blank...)
			return
		}
		key, value, found, err := s.next(h, r.function)
		reply(w, r, s.outcome(found, err), flags, "key", key, "value", value)
	}
}

// explain says why the last request failed.
func (s *session) explain(w *attr.Writer) {
	text, whole := "", 0
	if s.err != nil {
		text = s.err.Error()
	}
	var e *table.Error
	if errors.As(s.err, &e) {
		if e.Err == nil {
			text = ""
		}
		if e.Whole {
			whole = 1
		}
	}
	w.Int("status", int(client.OK)).Str("reason", strings.ReplaceAll(text, "\x00", "?")).Int("whole", whole)
}

// outcome makes a status of a result, and keeps the error for a client that
// asks for it.
func (s *session) outcome(found bool, err error) client.Status {
	if err != nil {
		s.err = err
	}
	switch {
	case err != nil && table.IsConfig(err):
		return client.Config
	case err != nil:
		maillog.Debugf("%v", err)
		return client.Retry
	case !found:
		return client.NotFound
	}
	return client.OK
}

// next steps through a table; each connection has its own place in it.
func (s *session) next(h *table.Handle, function int) (key, value string, ok bool, err error) {
	c := s.cursors[h]
	if c == nil || function == client.First {
		if c, err = h.Cursor(); err != nil {
			return "", "", false, err
		}
		s.cursors[h] = c
	}
	return c.Next()
}

// open returns the table of a request, if it is approved. Clients share an
// instance only when all of their flags are equal.
func (s *server) open(r request) (*table.Handle, client.Status) {
	name := r.table
	for strings.HasPrefix(name, "proxy:") {
		name = name[len("proxy:"):]
	}
	if s.approved != nil && !s.approved[name] {
		maillog.Warnf("request for unapproved table: \"%s\"", name)
		maillog.Warnf("to approve this table for %s access, list proxy:%s in main.cf:%s", s.access, name, s.param)
		return nil, client.Denied
	}
	if !strings.Contains(name, ":") {
		maillog.Warnf("%s: expecting \"type:name\" form", name)
		return nil, client.Bad
	}
	o := table.Options{Config: s.cfg, Command: s.approved == nil,
		Flags: table.Flags(r.instance)&table.InstanceFlags&^(table.UTF8Active|table.FixedKeys|table.PatternKeys|table.MultiWriter|table.Surrogate|table.BulkUpdate) | table.Lock}
	if s.write {
		o.Mode = table.ReadWrite
		o.Flags |= table.SyncUpdate | table.ReplaceDup
	}
	key := fmt.Sprintf("%d %s", o.Flags, name)
	s.mu.Lock()
	h := s.tables[key]
	s.mu.Unlock()
	if h != nil {
		return h, client.OK
	}
	if early := s.early[name]; early != nil && !s.write {
		h = early.As(o)
	} else {
		h = table.Open(name, o)
	}
	s.mu.Lock()
	s.tables[key] = h
	s.mu.Unlock()
	return h, client.OK
}
