package smtpclient

import (
	"bytes"
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/datawriter"
	"suffix/pkg/header"
	"suffix/pkg/maps"
	"suffix/pkg/mime"
	"suffix/pkg/record"
)

// An editor changes content on its way out: conversion to 7 bits, generic
// address mapping, header and body checks (spec smtp-client §9.3-§9.5).
type editor struct {
	t   *transaction
	w   *datawriter.Writer
	err error
}

func (t *transaction) editedContent(w *datawriter.Writer) error {
	c := t.d.cfg
	e := &editor{t: t, w: w}
	var p mime.Parser
	report := mime.Error(0)
	if t.convert {
		report = mime.ErrNesting
	}
	p.Init(e, mime.Options{
		MIME:          t.convert || !c.MIMEHeaderChecks.Empty() || !c.NestedHeaderChecks.Empty() || !c.HeaderChecks.Empty(),
		Report:        report,
		Downgrade:     t.convert,
		HeaderLimit:   c.HeaderSizeLimit,
		BoundaryLimit: c.BoundaryLimit,
		NestingLimit:  c.MIMENestingLimit,
		LineLimit:     c.ReplyLimit,
	})
	for _, line := range t.extraHeaders() {
		p.Text(record.Text, []byte(line))
	}
	err := t.d.records(func(kind record.Type, data []byte) (bool, error) {
		p.Text(kind, data)
		return e.err == nil, e.err
	})
	if err == nil {
		p.Finish()
		err = e.err
	}
	return err
}

// fail keeps the first error; everything after it is dropped.
func (e *editor) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// Error ends the work when the structure is too deep to be converted.
func (e *editor) Error(violation mime.Error, _ []byte) { e.fail(violation) }

// EndPrimary has nothing to add.
func (e *editor) EndPrimary() {}

// Header checks, maps and writes one header.
func (e *editor) Header(block mime.Block, info *header.Info, text []byte) {
	if e.err != nil {
		return
	}
	c := e.t.d.cfg
	checks, name := c.HeaderChecks, "_header_checks"
	switch {
	case block == mime.Part, info != nil && info.Class&header.MIME != 0:
		checks, name = c.MIMEHeaderChecks, "_mime_header_checks"
	case block == mime.Nested:
		checks, name = c.NestedHeaderChecks, "_nested_header_checks"
	}
	if !checks.Empty() {
		replaced, keep := e.check(checks, c.Prefix+name, true, text)
		if e.err != nil || !keep {
			return
		}
		text = replaced
		n, _, ok := header.Split(text)
		if !ok {
			e.lines(text)
			return
		}
		info = header.Lookup(text[:n])
	}
	if block == mime.Primary && info != nil && info.Class&(header.Sender|header.Recipient) != 0 && !c.Generic.Empty() {
		text = e.mapAddresses(text)
	}
	e.lines(text)
}

// mapAddresses applies generic mapping to a header with addresses.
func (e *editor) mapAddresses(text []byte) []byte {
	c := e.t.d.cfg
	n, _, _ := header.Split(text)
	list := address.Parse(string(header.Value(text)), c.AddressTokenLimit)
	changed, err := list.Rewrite(c.generic)
	if err != nil {
		e.fail(err)
		return text
	}
	if !changed {
		return text
	}
	out := append(append([]byte(nil), text[:n]...), ": "...)
	return header.AppendFolded(out, list.Header())
}

// Body checks and writes a piece of body text.
func (e *editor) Body(kind record.Type, data []byte, offset int64) {
	if e.err != nil {
		return
	}
	c := e.t.d.cfg
	if !c.BodyChecks.Empty() && len(data) > 0 && (c.BodyChecksLimit == 0 || offset < c.BodyChecksLimit) {
		replaced, keep := e.check(c.BodyChecks, c.Prefix+"_body_checks", false, data)
		if e.err != nil || !keep {
			return
		}
		data = replaced
	}
	if err := e.w.Text(data); err != nil {
		e.fail(err)
		return
	}
	if kind == record.Text {
		if err := e.w.EndLine(); err != nil {
			e.fail(err)
		}
	}
}

// lines writes text whose lines are joined by newlines.
func (e *editor) lines(text []byte) {
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		if err := e.w.Line(line); err != nil {
			e.fail(err)
			return
		}
		text = rest
	}
}

// check looks up a header or a piece of body text and does what the table
// says. keep is false when nothing is to be written.
func (e *editor) check(m *maps.Maps, parameter string, isHeader bool, text []byte) (_ []byte, keep bool) {
	d := e.t.d
	what := "body"
	if isHeader {
		what = "header"
	}
	value, found, err := m.Find(string(text))
	if err != nil {
		d.cfg.Log.Warnf("%s: %s %s checks lookup error", d.req.QueueID, d.cfg.Prefix, what)
		e.fail(errLocalData)
		return nil, false
	}
	if !found {
		return text, true
	}
	word, arg, _ := strings.Cut(strings.TrimLeft(value, " \t"), " ")
	if i := strings.IndexByte(word, '\t'); i >= 0 {
		word, arg = word[:i], word[i+1:]+" "+arg
	}
	arg = strings.TrimSpace(arg)
	note := func(action string) {
		limit := 200
		if d.cfg.Dialect37 {
			limit = 60
		}
		line := printable(string(text[:min(len(text), limit)]), d.cfg.SMTPUTF8)
		if arg != "" {
			line += ": " + arg
		}
		d.cfg.Log.Infof("%s: %s: %s %s", d.req.QueueID, action, what, line)
	}
	usable := func(action string) bool {
		if arg == "" {
			d.cfg.Log.Warnf("%s action without text in %s map", action, parameter)
			return false
		}
		if isHeader && !header.Is(arg) {
			d.cfg.Log.Warnf("bad %s header text \"%s\" in %s map -- need \"headername: headervalue\"", action, arg, parameter)
			return false
		}
		return true
	}
	switch strings.ToUpper(word) {
	case "DUNNO", "OK":
	case "WARN":
		note("warning")
	case "INFO":
		note("info")
	case "IGNORE":
		return nil, false
	case "STRIP":
		note("strip")
		return nil, false
	case "REPLACE":
		if usable("REPLACE") {
			note("replace")
			return []byte(arg), true
		}
	case "PREPEND":
		if usable("PREPEND") {
			note("prepend")
			if err := e.w.Line([]byte(arg)); err != nil {
				e.fail(err)
				return nil, false
			}
		}
	default:
		d.cfg.Log.Warnf("unsupported command in %s map: %s", parameter, printable(value, false))
	}
	return text, true
}

// generic maps an address as it goes out (smtp_generic_maps).
func (c *Config) generic(internal string) (string, error) {
	if c.Generic.Empty() || internal == "" {
		return internal, nil
	}
	match, found, err := c.Generic.FindAddress(internal, c.GenericSearch)
	if err != nil {
		c.Log.Warnf("%s_generic_maps map lookup problem for %s", c.Prefix, internal)
		return "", errLocalData
	}
	if !found {
		return internal, nil
	}
	// "@domain" keeps the localpart.
	if strings.HasPrefix(match.Value, "@") {
		local, _, _ := address.Split(internal)
		return local + match.Value, nil
	}
	list := address.Parse(match.Value, c.AddressTokenLimit).Addresses()
	if len(list) == 0 {
		return internal, nil
	}
	if len(list) > 1 {
		c.Log.Warnf("multi-valued %s_generic_maps result for %s", c.Prefix, internal)
	}
	mapped := list[0]
	local, domain, hasDomain := address.Split(mapped)
	if match.Extension != "" && c.GenericPropagate {
		local += match.Extension
	}
	if !hasDomain && c.AppendOrigin != "" {
		domain, hasDomain = c.AppendOrigin, true
	}
	if hasDomain {
		return local + "@" + domain, nil
	}
	return local, nil
}
