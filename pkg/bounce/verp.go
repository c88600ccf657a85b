package bounce

import "strings"

// verpSender makes the address that tells which recipient a notice is about:
// "list@x.y" and "joe@d.e" with "+=" give "list+joe=d.e@x.y" (spec delivery §12.7).
func verpSender(sender, recipient, delimiters string) string {
	local, domain, hasDomain := cutLast(sender, "@")
	rLocal, rDomain, rHasDomain := cutLast(recipient, "@")
	out := local + delimiters[:1] + rLocal
	if rHasDomain {
		out += delimiters[1:2] + rDomain
	}
	if hasDomain {
		out += "@" + domain
	}
	return out
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
