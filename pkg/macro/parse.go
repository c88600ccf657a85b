package macro

import "strings"

type tokenKind uint8

const (
	literal tokenKind = iota
	simple            // $name
	body              // ${...} or $(...)
)

type token struct {
	kind tokenKind
	text string // literal text, name, or what the brackets hold
}

// scan cuts text into tokens and hands each to emit.
func scan(text string, emit func(token) error) error {
	for rest := text; rest != ""; {
		i := strings.IndexByte(rest, '$')
		if i != 0 {
			if i < 0 {
				i = len(rest)
			}
			if err := emit(token{literal, rest[:i]}); err != nil {
				return err
			}
			rest = rest[i:]
			continue
		}
		var tok token
		rest = rest[1:]
		switch {
		case rest == "":
			return errEmpty(text)
		case rest[0] == '$':
			tok, rest = token{literal, "$"}, rest[1:]
		case rest[0] == '{' || rest[0] == '(':
			end := closing(rest)
			if end < 0 {
				return &Error{Text: "truncated macro reference: \"" + text + "\""}
			}
			tok, rest = token{body, rest[1:end]}, rest[end+1:]
			if tok.text == "" {
				return errEmpty(text)
			}
		default:
			n := nameLength(rest)
			if n == 0 {
				return errEmpty(text)
			}
			tok, rest = token{simple, rest[:n]}, rest[n:]
		}
		if err := emit(tok); err != nil {
			return err
		}
	}
	return nil
}

func errEmpty(text string) error {
	return &Error{Text: "empty macro name: \"" + text + "\""}
}

// closing finds the bracket that matches the one at s[0], counting only that
// kind; -1 if there is none.
func closing(s string) int {
	open, shut := s[0], byte('}')
	if open == '(' {
		shut = ')'
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case open:
			depth++
		case shut:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func nameLength(s string) int {
	n := 0
	for n < len(s) && isNameByte(s[n]) {
		n++
	}
	return n
}

func isNameByte(c byte) bool { return isAlnum(c) || c == '_' }

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func skipBlanks(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

// bodyParts is a parsed ${...} body (spec config §3.2).
type bodyParts struct {
	name               string // tested or inserted name
	left, right        string // operands of a comparison
	operator           string
	level              bool // compare compatibility levels
	function, argument string
	tested             bool   // the condition is well formed
	branches           bool   // a ? or : is there
	yes, no            string // text for each outcome
}

const operatorBytes = "=!<>"

func parseBody(text string) (b bodyParts, err error) {
	rest := skipBlanks(text)
	if rest != "" && rest[0] == '{' {
		if rest, err = parseComparison(&b, rest); err != nil {
			return b, err
		}
		b.tested = true
		if rest == "" {
			return b, nil
		}
		if rest[0] != '?' && rest[0] != ':' {
			return b, errAt(`"?" or ":" expected at: "...}>>>`, rest)
		}
	} else {
		n := nameLength(rest)
		b.name, rest = rest[:n], rest[n:]
		after := skipBlanks(rest)
		switch {
		case after == "":
			return b, nil
		case after[0] == '{' && b.name != "":
			return b, parseFunction(&b, after)
		case after[0] != '?' && after[0] != ':':
			return b, errAt(`attribute name syntax error at: "...`+text[:len(text)-len(rest)]+`>>>`, rest)
		}
		rest = after
	}
	b.tested, b.branches = true, true
	return b, parseBranches(&b, rest)
}

// parseComparison takes {left} op {right} and the blanks after it.
func parseComparison(b *bodyParts, text string) (rest string, err error) {
	if b.left, rest, err = group(text); err != nil {
		return "", err
	}
	rest = skipBlanks(rest)
	n := 0
	for n < len(rest) && strings.IndexByte(operatorBytes, rest[n]) >= 0 {
		n++
	}
	switch b.operator = rest[:n]; b.operator {
	case "==", "!=", "<", "<=", ">=", ">":
	default:
		return "", errAt(`"==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...`+b.left+`}>>>`, rest)
	}
	rest = rest[n:]
	n = 0
	for n < len(rest) && isAlnum(rest[n]) {
		n++
	}
	if n > 0 {
		if rest[:n] != "level" {
			return "", errAt(`bad operator suffix at: "...`+b.operator+`>>>`, rest[:n])
		}
		b.level = true
		rest = rest[n:]
	}
	start := skipBlanks(rest)
	if start == "" || start[0] != '{' {
		return "", errAt(`"{expression}" expected at: "...{`+b.left+`} `+b.operator+`>>>`, rest)
	}
	if b.right, rest, err = group(start); err != nil {
		return "", err
	}
	return skipBlanks(rest), nil
}

// parseBranches takes what starts with the ? or : of a conditional.
func parseBranches(b *bodyParts, text string) error {
	first, other := &b.yes, &b.no
	if text[0] == ':' {
		first, other = other, first
	}
	inner, rest, braces, err := branch(text[1:])
	if err != nil {
		return err
	}
	*first = inner
	if !braces || rest == "" {
		return nil
	}
	if text[0] == ':' {
		return errAt(`unexpected input at: "...`+inner+`}>>>`, rest)
	}
	if rest[0] != ':' {
		return errAt(`":" expected at: "...`+inner+`}>>>`, rest)
	}
	if inner, rest, braces, err = branch(rest[1:]); err != nil {
		return err
	}
	*other = inner
	if braces && rest != "" {
		return errAt(`unexpected input at: "...`+inner+`}>>>`, rest)
	}
	return nil
}

// branch takes one branch: a group in braces with the blanks around it, or
// everything to the end.
func branch(text string) (inner, rest string, braces bool, err error) {
	start := skipBlanks(text)
	if start == "" || start[0] != '{' {
		return text, "", false, nil
	}
	inner, rest, err = group(start)
	return inner, skipBlanks(rest), true, err
}

// group takes {text} off the front of s.
func group(s string) (inner, rest string, err error) {
	end := closing(s)
	if end < 0 {
		return "", "", &Error{Text: "unbalanced {} in attribute expression: \"" + s + "\""}
	}
	return s[1:end], s[end+1:], nil
}

// errAt completes a message that ends in >>> with the start of the remaining text.
func errAt(text, rest string) error {
	if len(rest) > restLength {
		rest = rest[:restLength]
	}
	return &Error{Text: text + rest + `"`}
}
