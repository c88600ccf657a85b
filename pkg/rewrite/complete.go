package rewrite

// completion is one set of rules for addresses that lack something.
type completion struct {
	atOrigin  bool   // append @origin to an address without domain
	dotDomain bool   // append .domain to a domain without dot
	origin    string // empty: not done
	domain    string // empty: not done
	compat    bool   // dotDomain is the default of an old compatibility level
}

// complete brings an address to its standard form (spec qmgr §13.3). It may
// change the slice that it is given.
func (e *Engine) complete(tokens []token, c *completion) []token {
	switch {
	case len(tokens) == 0:
		return tokens
	case isEmptyString(tokens):
		return tokens
	case len(tokens) == 1 && tokens[0].is('@'):
		return nil
	}
	if tokens[0].is('@') {
		// A source route is dropped, unless nothing would be left.
		if colon := first(tokens, ':'); colon >= 0 && colon < len(tokens)-1 {
			tokens = tokens[colon+1:]
		}
	}
	if last(tokens, '@') < 0 {
		tokens = e.addDomain(tokens, c)
	}
	tokens = e.qualify(tokens, c)
	return trimDot(tokens)
}

// addDomain gives an address without @ a domain.
func (e *Engine) addDomain(tokens []token, c *completion) []token {
	if e.swapBangpath {
		if bang := first(tokens, '!'); bang >= 0 {
			return swap(tokens, bang)
		}
	}
	if e.percentHack {
		if percent := last(tokens, '%'); percent >= 0 {
			tokens[percent] = at
			return tokens
		}
	}
	if c.atOrigin && c.origin != "" {
		return append(append(tokens, at), parse(c.origin)...)
	}
	return tokens
}

var at = token{kind: operator, text: "@"}

// swap turns site!rest into rest@site. Without a site, the rest loses the
// blanks between its words, as everybody is used to.
func swap(tokens []token, bang int) []token {
	swapped := make([]token, 0, len(tokens)+2)
	swapped = append(swapped, tokens[bang+1:]...)
	swapped = append(swapped, at)
	if bang == 0 {
		for i := range swapped {
			swapped[i].tight = true
		}
	}
	return append(swapped, tokens[:bang]...)
}

// qualify appends the domain to a host name without one.
func (e *Engine) qualify(tokens []token, c *completion) []token {
	if !c.dotDomain || c.domain == "" {
		return tokens
	}
	i := last(tokens, '@')
	if i < 0 || i == len(tokens)-1 {
		return tokens
	}
	for _, t := range tokens[i+1:] {
		if t.is('.') || t.kind == literal {
			return tokens
		}
	}
	if c.compat {
		e.logCompat(internal(tokens[i+1:]), c.domain)
	}
	return append(append(tokens, token{kind: operator, text: "."}), parse(c.domain)...)
}

// logCompat tells about a default that a newer compatibility level changes.
func (e *Engine) logCompat(host, domain string) {
	suffix := ""
	if host == "localhost" {
		if e.hasClass(host) {
			return
		}
		suffix = `; please add "localhost" to mydestination or other address class`
	}
	e.log.Infof("using backwards-compatible default setting append_dot_mydomain=yes to rewrite \"%s\" to \"%s.%s\"%s", host, host, domain, suffix)
}

// hasClass says whether a domain is in one of the address classes.
func (e *Engine) hasClass(domain string) bool {
	for _, match := range []func(string) (bool, error){e.isLocal, e.aliasDomains.Match, e.mailboxDomains.Match, e.relayDomains.Match} {
		if found, err := match(domain); found && err == nil {
			return true
		}
	}
	return false
}

// trimDot removes the dot at the end of a domain name.
func trimDot(tokens []token) []token {
	n := len(tokens)
	if n > 1 && tokens[n-1].is('.') && !tokens[n-2].is('.') && !tokens[n-2].is('@') {
		return tokens[:n-1]
	}
	return tokens
}

// isEmptyString recognises a localpart that is written as "".
func isEmptyString(tokens []token) bool {
	return len(tokens) == 1 && tokens[0].kind == quoted && tokens[0].text == ""
}
