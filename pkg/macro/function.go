package macro

import "golang.org/x/net/idna"

const (
	toASCII = "domain_to_ascii"
	toUTF8  = "domain_to_utf8"
)

// parseFunction takes {argument} after the name of a function (spec config §3.4).
func parseFunction(b *bodyParts, text string) error {
	arg, rest, err := group(text)
	if err != nil {
		return err
	}
	call := b.name + "{" + arg + "}"
	if b.name != toASCII && b.name != toUTF8 {
		return errAt("unknown function \""+b.name+"\" at\"...>>>", call)
	}
	if rest = skipBlanks(rest); rest != "" {
		return errAt(`unexpected input at: "...`+arg+`}>>>`, rest)
	}
	b.function, b.argument, b.name = b.name, trimBlanks(arg), ""
	return nil
}

func trimBlanks(s string) string {
	s = skipBlanks(s)
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// call converts a domain name; ok is false for a name that cannot be converted.
func (x *expander) call(function, domain string) (res string, ok bool) {
	var err error
	if function == toASCII {
		if isASCII(domain) {
			return domain, true
		}
		res, err = lookupProfile().ToASCII(domain)
	} else {
		res, err = lookupProfile().ToUnicode(domain)
	}
	return res, err == nil && (res != "" || domain == "")
}

// lookupProfile is the IDNA processing of a name that is going to be looked
// up: UTS #46, not transitional.
func lookupProfile() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(false))
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
