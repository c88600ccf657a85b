// Package macro expands $name expressions as main.cf, bounce templates and
// delivery commands use them (spec config §3).
//
// The package knows the language only; what a name means is the caller's
// lookup function. Errors carry the warning that Postfix would log; what a
// program says after it (the fatal text) is the program's choice.
package macro

import (
	"strings"
)

// Limits of one Expand call. maxDepth is Postfix's; the other two stop an
// expression that doubles itself at every step from eating the machine.
const (
	maxDepth   = 100
	maxNested  = 1000     // comparison operands within operands
	maxSteps   = 1 << 20  // tokens
	maxOutput  = 16 << 20 // bytes
	restLength = 20       // bytes of remaining text shown in an error
)

// A Lookup finds the value of a name; ok is false for an undefined name.
// An undefined name expands to nothing; a caller that wants to complain about
// it does so in its lookup function.
type Lookup func(name string) (value string, ok bool)

// Options change how values are inserted.
type Options struct {
	// Once inserts values as they are; without it a value is an expression
	// that is expanded in turn, as in main.cf.
	Once bool
	// Verbatim, if set, tells for one name what Once tells for all.
	Verbatim func(name string) bool
	// Allowed, if not empty, lists the bytes that may occur in a value; every
	// other byte becomes an underscore (command_expansion_filter and its kin).
	Allowed string
}

// An Error is a mistake in an expression. Text is the complete warning in
// Postfix's words.
type Error struct {
	Text string
	// Fatal marks a mistake that ends a program with Text itself; all others
	// are a warning, after which the program ends with its own text.
	Fatal bool
}

func (e *Error) Error() string { return e.Text }

// Expand returns text with its $ expressions replaced. The error is an *Error.
func Expand(text string, lookup func(name string) (value string, ok bool), o Options) (string, error) {
	if strings.IndexByte(text, '$') < 0 {
		return text, nil
	}
	x := expander{lookup: lookup, o: o}
	out := make([]byte, 0, len(text)+64)
	out, err := x.text(out, text, 0)
	if err != nil {
		return "", err
	}
	return string(out), nil
}

type expander struct {
	lookup Lookup
	o      Options
	steps  int // tokens so far
	nested int // comparison operands around the current text
}

// text appends the expansion of text, which stands depth references deep.
func (x *expander) text(out []byte, text string, depth int) ([]byte, error) {
	err := scan(text, func(tok token) error {
		if depth > maxDepth || x.steps >= maxSteps || len(out) > maxOutput {
			return errNesting(tok.text)
		}
		x.steps++
		if tok.kind == literal {
			out = append(out, tok.text...)
			return nil
		}
		var err error
		if tok.kind == simple {
			out, err = x.value(out, tok.text, depth)
		} else {
			out, err = x.body(out, tok.text, depth)
		}
		return err
	})
	return out, err
}

// value appends the value of a name.
func (x *expander) value(out []byte, name string, depth int) ([]byte, error) {
	v, ok := x.lookup(name)
	if !ok || v == "" {
		return out, nil
	}
	start := len(out)
	if x.o.Once || x.o.Verbatim != nil && x.o.Verbatim(name) {
		out = append(out, v...)
	} else {
		var err error
		if out, err = x.text(out, v, depth+1); err != nil {
			return out, err
		}
	}
	if x.o.Allowed != "" {
		for i := start; i < len(out); i++ {
			if strings.IndexByte(x.o.Allowed, out[i]) < 0 {
				out[i] = '_'
			}
		}
	}
	return out, nil
}

// body appends the value of what stands between ${ and }.
func (x *expander) body(out []byte, text string, depth int) ([]byte, error) {
	b, err := parseBody(text)
	if err != nil {
		return out, err
	}
	var holds bool
	switch {
	case b.function != "":
		arg, err := x.operand(b.argument)
		if err != nil {
			return out, err
		}
		res, ok := x.call(b.function, arg)
		if !ok {
			return out, &Error{Text: "bad domain argument in: '" + b.function + "{" + b.argument + "}'"}
		}
		return append(out, res...), nil
	case b.operator != "":
		left, err := x.operand(b.left)
		if err != nil {
			return out, err
		}
		right, err := x.operand(b.right)
		if err != nil {
			return out, err
		}
		if holds, err = compare(left, b.operator, right, b.level); err != nil {
			return out, err
		}
		if !b.branches {
			if holds {
				out = append(out, "true"...)
			}
			return out, nil
		}
	case b.branches:
		v, ok := x.lookup(b.name)
		holds = ok && v != ""
	default:
		return x.value(out, b.name, depth)
	}
	branch := b.no
	if holds {
		branch = b.yes
	}
	return x.text(out, branch, depth+1)
}

// operand expands one side of a comparison. Its depth starts anew, as in
// Postfix, so a second counter bounds operands within operands.
func (x *expander) operand(text string) (string, error) {
	if strings.IndexByte(text, '$') < 0 {
		return text, nil
	}
	if x.nested >= maxNested {
		return "", errNesting(text)
	}
	x.nested++
	out, err := x.text(nil, text, 0)
	x.nested--
	return string(out), err
}

// Names calls visit for every name that occurs in text, in both branches of
// conditionals and in the operands of comparisons, without expanding values.
// test is true where the name is only tested (${name?...}). Names in front of a
// mistake among the branches of a conditional are visited, as in Postfix.
func Names(text string, visit func(name string, test bool)) error {
	return names(text, visit, 0)
}

func names(text string, visit func(string, bool), depth int) error {
	return scan(text, func(tok token) error {
		switch {
		case tok.kind == literal:
			return nil
		case depth > maxDepth:
			return errNesting(tok.text)
		case tok.kind == simple:
			visit(tok.text, false)
			return nil
		}
		b, bodyErr := parseBody(tok.text)
		if bodyErr != nil && !b.tested {
			return bodyErr
		}
		parts := []string{b.yes, b.no}
		switch {
		case b.function != "":
			parts = []string{b.argument}
		case b.operator != "":
			parts = []string{b.left, b.right, b.yes, b.no}
		default:
			visit(b.name, b.branches)
		}
		for _, part := range parts {
			if err := names(part, visit, depth+1); err != nil {
				return err
			}
		}
		return bodyErr
	})
}

func errNesting(what string) error {
	return &Error{Text: "unreasonable macro call nesting: \"" + what + "\""}
}
