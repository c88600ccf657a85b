package smtpaccess

import (
	"strings"
	"time"

	"suffix/pkg/address"
)

// Macro returns the value of a name that reply templates and footers may use
// (spec smtpd §4). ok is false for an unknown name, which is warned about.
func (s *Session) Macro(name string) (value string, ok bool) {
	switch name {
	case "client":
		return s.LogName, true
	case "client_address":
		return s.Address, true
	case "client_name":
		return s.Name, true
	case "client_port":
		return s.Port, true
	case "reverse_client_name":
		return s.ReverseName, true
	case "server_name":
		return s.ServerName, true
	case "helo_name":
		return s.Helo, s.HasHelo
	case "localtime":
		return time.Now().Format("Jan _2 15:04:05"), true
	case "sender":
		if s.Tx.HasSender && s.Tx.Sender == "" {
			return "<>", true
		}
		return s.Tx.Sender, s.Tx.HasSender
	case "recipient":
		return s.Tx.Recipient, s.Tx.HasRecipient
	case "sender_name", "recipient_name", "sender_domain", "recipient_domain":
		addr, has := s.Tx.Sender, s.Tx.HasSender
		if strings.HasPrefix(name, "recipient") {
			addr, has = s.Tx.Recipient, s.Tx.HasRecipient
		}
		local, domain, _ := address.Split(addr)
		if strings.HasSuffix(name, "_name") {
			return local, has && local != ""
		}
		return domain, has && domain != ""
	}
	s.Log.Warnf("unknown macro name \"%s\" in expansion request", name)
	return "", false
}

// Unescape reads the C escapes in the value of smtpd_expansion_filter: \t, \\,
// \ooo.
func Unescape(text string) string {
	if strings.IndexByte(text, '\\') < 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			b.WriteByte(c)
			continue
		}
		i++
		switch c = text[i]; c {
		case 'a', 'b', 'f', 'n', 'r', 't', 'v':
			b.WriteByte("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)])
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n := 0
			for end := i + 3; i < end && i < len(text) && text[i] >= '0' && text[i] <= '7'; i++ {
				n = n<<3 | int(text[i]-'0')
			}
			i--
			b.WriteByte(byte(n))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
