package mime

// A scanner cuts the value of a structured MIME header into tokens.
type scanner struct {
	text  []byte
	saved *token
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenQuoted
	tokenSpecial
)

type token struct {
	kind tokenKind
	text []byte
}

func (t token) is(c byte) bool { return t.kind == tokenSpecial && t.text[0] == c }

// back makes next return the token again.
func (s *scanner) back(t token) { s.saved = &t }

func special(c byte) bool {
	switch c {
	case '(', ')', '<', '>', '@', ',', ';', ':', '\\', '"', '/', '[', ']', '?', '=':
		return true
	}
	return false
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (s *scanner) next() token {
	if t := s.saved; t != nil {
		s.saved = nil
		return *t
	}
	for len(s.text) > 0 {
		c := s.text[0]
		switch {
		case space(c):
			s.text = s.text[1:]
		case c == '(':
			s.comment()
		case c == '"':
			return s.quoted()
		case special(c):
			t := token{tokenSpecial, s.text[:1]}
			s.text = s.text[1:]
			return t
		default:
			n := 1
			for n < len(s.text) && !space(s.text[n]) && !special(s.text[n]) {
				n++
			}
			t := token{tokenWord, s.text[:n]}
			s.text = s.text[n:]
			return t
		}
	}
	return token{}
}

func (s *scanner) comment() {
	level := 0
	for i := 0; i < len(s.text); i++ {
		switch s.text[i] {
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				s.text = s.text[i+1:]
				return
			}
		case '\\':
			i++
		}
	}
	s.text = nil
}

func (s *scanner) quoted() token {
	var buf []byte
	for i := 1; i < len(s.text); i++ {
		c := s.text[i]
		switch {
		case c == '"':
			s.text = s.text[i+1:]
			return token{tokenQuoted, buf}
		case c == '\\' && i+1 < len(s.text):
			i++
			buf = append(buf, s.text[i])
		case c != '\n' && c != '\r':
			buf = append(buf, c)
		}
	}
	s.text = nil
	return token{tokenQuoted, buf}
}
