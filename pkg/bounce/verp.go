package bounce

import "suffix/pkg/address"

// verpSender makes the address that tells which recipient a notice is about:
// "list@x.y" and "joe@d.e" with "+=" give "list+joe=d.e@x.y" (spec delivery §12.7).
func verpSender(sender, recipient, delimiters string) string {
	local, domain, hasDomain := address.Split(sender)
	rLocal, rDomain, rHasDomain := address.Split(recipient)
	out := local + delimiters[:1] + rLocal
	if rHasDomain {
		out += delimiters[1:2] + rDomain
	}
	if hasDomain {
		out += "@" + domain
	}
	return out
}
