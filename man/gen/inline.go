package main

import "regexp"

type spanKind int

const (
	text     spanKind = iota
	literal           // to be typed as it is
	variable          // to be replaced
	pageRef           // name(section)
	paramRef
)

// A span is a piece of text of one kind.
type span struct {
	kind spanKind
	text string
}

var (
	marks = regexp.MustCompile("`[^`]+`|\\*[^*\\s](?:[^*]*[^*\\s])?\\*")
	words = regexp.MustCompile(`[a-zA-Z0-9_.-]*[a-zA-Z0-9_]\([1-9]\)|[a-z0-9]+(?:_[a-zA-Z0-9]+)+`)
)

// spans takes marked text apart; plain text has no marks.
func (b *book) spans(s string, plain bool) []span {
	var out []span
	if plain {
		return b.names(out, s)
	}
	for {
		at := marks.FindStringIndex(s)
		if at == nil {
			return b.names(out, s)
		}
		out = b.names(out, s[:at[0]])
		inner, kind := s[at[0]+1:at[1]-1], literal
		switch {
		case s[at[0]] == '*':
			kind = variable
		case b.param[inner] != nil:
			kind = paramRef
		}
		out = append(out, span{kind, inner})
		s = s[at[1]:]
	}
}

// names finds pages and parameters that unmarked text mentions.
func (b *book) names(out []span, s string) []span {
	add := func(kind spanKind, s string) {
		if s != "" {
			out = append(out, span{kind, s})
		}
	}
	done := 0
	for _, at := range words.FindAllStringIndex(s, -1) {
		word, kind := s[at[0]:at[1]], text
		switch {
		case word[len(word)-1] == ')':
			kind = pageRef
		case b.param[word] != nil:
			kind = paramRef
		default:
			continue
		}
		add(text, s[done:at[0]])
		add(kind, word)
		done = at[1]
	}
	add(text, s[done:])
	return out
}
