package bounce

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"suffix/pkg/config"
	"suffix/pkg/macro"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
)

// A Template is the text of one kind of notice (spec delivery §13).
type Template struct {
	Name              string // failure, delay, success, verify
	Charset           string
	From              string
	Subject           string
	PostmasterSubject string // empty where the kind has none
	Text              []string
	origin            string
}

// Templates are the four kinds, from bounce_template_file or built in.
type Templates struct {
	Failure, Delay, Success, Verify *Template
	cfg                             *config.Main
}

const builtIn = "[built-in]"

// builtInTemplates are the texts of this system, in its own words.
func builtInTemplates(from string) []*Template {
	common := func(name, subject, postmaster string, text ...string) *Template {
		return &Template{Name: name, Charset: "us-ascii", From: from, Subject: subject, PostmasterSubject: postmaster,
			Text: append([]string{"This is the mail system at host $myhostname.", ""}, text...), origin: builtIn}
	}
	return []*Template{
		common("failure", "Undelivered Mail Returned to Sender", "Postmaster Copy: Undelivered Mail",
			"Your message could not be delivered to one or more of its recipients.",
			"It is attached below, together with a report for each of them.", "",
			"If you need help, please write to <postmaster> and include this",
			"report. You may leave out your own text from the returned message.", "",
			"                   The mail system"),
		common("delay", "Delayed Mail (still being retried)", "Postmaster Warning: Delayed Mail",
			"####################################################################",
			"# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #",
			"####################################################################", "",
			"Your message could not be delivered for more than $delay_warning_time_hours hour(s).",
			"Delivery is tried again until it is $maximal_queue_lifetime_days day(s) old.", "",
			"If you need help, please write to <postmaster> and include this",
			"report. You may leave out your own text from the returned message.", "",
			"                   The mail system"),
		common("success", "Successful Mail Delivery Report", "",
			"Your message was delivered to the destination(s) listed below.",
			"Where that is a mailbox you will not hear of it again. Otherwise other",
			"mail systems may still report that they could not deliver it.", "",
			"                   The mail system"),
		common("verify", "Mail Delivery Status Report", "",
			"Enclosed is the mail delivery report that you asked for.", "",
			"                   The mail system"),
	}
}

// LoadTemplates reads bounce_template_file, or takes the built-in texts.
func LoadTemplates(cfg *config.Main) (*Templates, error) {
	from := "Mail Delivery System <MAILER-DAEMON>"
	if cfg.String(params.HeaderFromFormat) == "obsolete" {
		from = "MAILER-DAEMON (Mail Delivery System)"
	}
	kinds := builtInTemplates(from)
	if path := cfg.String(params.BounceTemplateFile); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("open %s: %s", path, syserr.Text(err))
		}
		values, err := parseTemplateFile(path, string(text))
		if err != nil {
			return nil, err
		}
		for i, kind := range kinds {
			if value, ok := values[kind.Name+"_template"]; ok {
				if t := parseTemplate(path, value, kind); t != nil {
					kinds[i] = t
				}
			}
		}
	}
	return &Templates{kinds[0], kinds[1], kinds[2], kinds[3], cfg}, nil
}

// parseTemplateFile splits a template file into its values.
func parseTemplateFile(path, text string) (map[string]string, error) {
	values := make(map[string]string)
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		fail := func(why string) error {
			return fmt.Errorf("%s, line %d: %s: \"%s\"", path, i+2, why, maillog.Printable(line))
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case name == "":
			return nil, fail("missing attribute name")
		case !ok:
			return nil, fail("missing '=' after attribute name")
		}
		if marker, multi := strings.CutPrefix(value, "<<"); multi {
			marker = strings.TrimSpace(marker)
			switch {
			case marker == "":
				return nil, fail("missing end marker after <<")
			case !isAlnum(marker[0]):
				return nil, fail("malformed end marker after <<")
			}
			var body []string
			for i++; i < len(lines) && lines[i] != marker; i++ {
				body = append(body, lines[i])
			}
			if i >= len(lines) {
				maillog.Warnf("%s, line %d: missing \"%s\" end marker", path, len(lines)+1, marker)
			}
			value = strings.Join(body, "\n")
		}
		switch name {
		case "failure_template", "delay_template", "success_template", "verify_template":
			values[name] = value
		default:
			maillog.Warnf("%s, line %d: unknown template name: %s -- ignoring this template", path, i+2, maillog.Printable(name))
		}
	}
	return values, nil
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// parseTemplate reads the header lines and the text of one value; nil, with a
// warning, when the built-in template must be used instead.
func parseTemplate(path, value string, standard *Template) *Template {
	t := *standard
	t.origin, t.Text = path, nil
	ignore := func(format string, args ...any) *Template {
		maillog.Warnf("%s: %s in %s template -- ignoring this template", path, fmt.Sprintf(format, args...), t.Name)
		return nil
	}
	lines := strings.Split(value, "\n")
	for len(lines) > 0 {
		label, text, ok := strings.Cut(lines[0], ":")
		if !ok || strings.ContainsAny(label, " \t") || label == "" {
			break
		}
		text = strings.TrimLeft(text, " \t")
		lines = lines[1:]
		if text == "" {
			return ignore("empty \"%s\" header value", label)
		}
		if !isASCII(text) {
			return ignore("non-ASCII \"%s\" header value", label)
		}
		switch strings.ToLower(label) {
		case "charset":
			t.Charset = text
		case "from":
			t.From = text
		case "subject":
			t.Subject = text
		case "postmaster-subject":
			if standard.PostmasterSubject == "" {
				return ignore("inapplicable \"%s\" header label", label)
			}
			t.PostmasterSubject = text
		default:
			return ignore("unknown \"%s\" header label", label)
		}
	}
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return ignore("missing message text")
	}
	t.Text = lines
	if !isASCII(strings.Join(lines, "")) && strings.EqualFold(t.Charset, "us-ascii") {
		maillog.Warnf("%s: 8-bit message text in %s template", path, t.Name)
		maillog.Warnf("please specify a charset value other than us-ascii")
		maillog.Warnf("-- ignoring this template for now")
		return nil
	}
	return &t
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// timeUnits are the suffixes with which a template asks for a time parameter.
var timeUnits = []struct {
	name string
	unit time.Duration
}{
	{"seconds", time.Second}, {"minutes", time.Minute}, {"hours", time.Hour},
	{"days", 24 * time.Hour}, {"weeks", 7 * 24 * time.Hour},
}

// Expand returns the text with its $names replaced.
func (t *Template) Expand(cfg *config.Main) ([]string, error) {
	lookup := func(name string) (string, bool) {
		for _, p := range []params.Time{params.DelayWarningTime, params.MaximalQueueLifetime} {
			if suffix, ok := strings.CutPrefix(name, params.Of(p).Name+"_"); ok {
				return t.timeValue(params.Of(p).Name, suffix, cfg.Time(p))
			}
		}
		value, ok := cfg.Lookup(name)
		if ok && (name == "myhostname" || name == "mydomain") && cfg.Bool(params.Smtputf8Enable) {
			if decoded, err := idna.ToUnicode(value); err == nil {
				value = decoded
			} else {
				maillog.Warnf("%s: conversion \"%s\" failed: %v", t.origin, value, err)
			}
		}
		return maillog.Printable(value), ok
	}
	out := make([]string, len(t.Text))
	for i, line := range t.Text {
		undefined := false
		text, err := macro.Expand(line, func(name string) (string, bool) {
			value, ok := lookup(name)
			undefined = undefined || !ok
			return value, ok
		}, macro.Options{Once: true})
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: bad $name syntax in %s template: %s", t.origin, t.Name, line)
		case undefined:
			return nil, fmt.Errorf("%s: undefined $name in %s template: %s", t.origin, t.Name, line)
		}
		out[i] = text
	}
	return out, nil
}

func (t *Template) timeValue(parameter, suffix string, value time.Duration) (string, bool) {
	for _, u := range timeUnits {
		if u.name != suffix {
			continue
		}
		n := int64(value / u.unit)
		switch {
		case n == 0 && value != 0:
			maillog.Warnf("%s: zero result in %s template conversion of parameter \"%s\"", t.origin, t.Name, parameter)
			maillog.Warnf("please reduce time unit \"%s\" of \"%s\" in %s template", suffix, parameter+"_"+suffix, t.Name)
			maillog.Warnf("for instructions see the bounce(5) manual")
		case n > 999 && u.unit < 24*time.Hour:
			maillog.Warnf("%s: excessive result \"%d\" in %s template conversion of parameter \"%s\"", t.origin, n, t.Name, parameter)
			maillog.Warnf("please increase time unit \"%s\" of \"%s\" in %s template", suffix, parameter+"_"+suffix, t.Name)
			maillog.Warnf("for instructions see the bounce(5) manual")
		}
		return strconv.FormatInt(n, 10), true
	}
	maillog.Warnf("%s: unrecognized suffix \"%s\" in parameter \"%s\"", t.origin, suffix, parameter)
	return "", false
}

// Print writes all templates as postconf -b (expanded) and -t (raw) show them.
func (ts *Templates) Print(expanded bool) (string, error) {
	var b strings.Builder
	for _, t := range []*Template{ts.Failure, ts.Delay, ts.Success, ts.Verify} {
		if expanded {
			text, err := t.Expand(ts.cfg)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "expanded_%s_text = <<EOF\n%s\nEOF\n\n", t.Name, strings.Join(text, "\n"))
			continue
		}
		fmt.Fprintf(&b, "%s_template = <<EOF\nCharset: %s\nFrom: %s\nSubject: %s\n", t.Name, t.Charset, t.From, t.Subject)
		if t.PostmasterSubject != "" {
			fmt.Fprintf(&b, "Postmaster-Subject: %s\n", t.PostmasterSubject)
		}
		fmt.Fprintf(&b, "\n%s\nEOF\n\n", strings.Join(t.Text, "\n"))
	}
	return b.String(), nil
}
