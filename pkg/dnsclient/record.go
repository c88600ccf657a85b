package dnsclient

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// String returns the record in the form in which reply filters see it:
// "name. ttl IN MX 10 host." (spec smtp-client §3.1).
func (r Record) String() string {
	head := fmt.Sprintf("%s. %d IN %s ", r.Name, r.TTL, TypeName(r.Type))
	switch r.Type {
	case TypeA, TypeAAAA:
		return head + r.Addr.String()
	case TypeMX:
		return fmt.Sprintf("%s%d %s.", head, r.Pref, r.Target)
	case TypeSRV:
		return fmt.Sprintf("%s%d %d %d %s.", head, r.Pref, r.Weight, r.Port, r.Target)
	case TypeTXT:
		return head + r.Text
	case TypeSOA:
		return head + r.Target + ". " + r.Text
	case TypeTLSA:
		if len(r.Data) < 3 {
			return head + "[truncated record]"
		}
		return fmt.Sprintf("%s%d %d %d %s", head, r.Data[0], r.Data[1], r.Data[2],
			strings.ToUpper(hex.EncodeToString(r.Data[3:])))
	}
	return head + r.Target + "."
}

func trimDot(s string) string { return strings.TrimSuffix(s, ".") }

// record translates a wire record. ok is false for a type that this package
// does not know.
func record(rr dns.RR) (rec Record, ok bool) {
	h := rr.Header()
	rec = Record{Name: trimDot(h.Name), Type: h.Rrtype, TTL: h.Ttl}
	switch v := rr.(type) {
	case *dns.A:
		rec.Addr, ok = netip.AddrFromSlice(v.A.To4())
	case *dns.AAAA:
		rec.Addr, ok = netip.AddrFromSlice(v.AAAA.To16())
	case *dns.MX:
		rec.Pref, rec.Target, ok = v.Preference, trimDot(v.Mx), true
	case *dns.SRV:
		rec.Pref, rec.Weight, rec.Port, rec.Target, ok = v.Priority, v.Weight, v.Port, trimDot(v.Target), true
	case *dns.PTR:
		rec.Target, ok = trimDot(v.Ptr), true
	case *dns.NS:
		rec.Target, ok = trimDot(v.Ns), true
	case *dns.CNAME:
		rec.Target, ok = trimDot(v.Target), true
	case *dns.SOA:
		rec.Target, ok = trimDot(v.Ns), true
		rec.Text = fmt.Sprintf("%s. %d %d %d %d %d", trimDot(v.Mbox), v.Serial, v.Refresh, v.Retry, v.Expire, v.Minttl)
	case *dns.TXT:
		rec.Text, ok = joinText(v.Txt), true
	case *dns.TLSA:
		digest, err := hex.DecodeString(v.Certificate)
		if err != nil {
			return rec, false
		}
		rec.Data, ok = append([]byte{v.Usage, v.Selector, v.MatchingType}, digest...), true
	}
	return rec, ok
}

// joinText joins the strings of a TXT record. The library escapes them as in
// a zone file; the result has the plain bytes, with control characters made
// visible as "?" since such text ends up in replies and log lines.
func joinText(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		for i := 0; i < len(p); i++ {
			c := p[i]
			if c == '\\' && i+1 < len(p) {
				i++
				c = p[i]
				if i+2 < len(p) && isDigit(p[i]) && isDigit(p[i+1]) && isDigit(p[i+2]) {
					c = byte(int(p[i]-'0')*100 + int(p[i+1]-'0')*10 + int(p[i+2]-'0'))
					i += 2
				}
			}
			if c < 32 || c == 127 {
				c = '?'
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
