package smtpserver

import (
	"net/netip"
	"strings"

	"suffix/pkg/dnsclient"
	"suffix/pkg/smtpaccess"
)

// maxAttribute bounds a value of XCLIENT and XFORWARD.
const maxAttribute = 255

// Values that stand for what the other side does not know.
const (
	unavailable     = "[UNAVAILABLE]"
	tempUnavailable = "[TEMPUNAVAIL]"
)

// splitAttribute takes "name=value" apart. On failure it has replied.
func (s *session) splitAttribute(arg string) (name, value string, ok bool) {
	name, value, has := strings.Cut(arg, "=")
	if !has || name == "" || value == "" {
		s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Error: attribute=value expected")
		return "", "", false
	}
	if len(value) > maxAttribute {
		s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Error: attribute value too long")
		return "", "", false
	}
	if decoded, ok := decodeXtext(value); ok {
		value = decoded
	}
	return strings.ToUpper(name), printableBytes(value, '?'), true
}

// validAddress says that text is a numeric address.
func validAddress(text string) bool {
	_, ok := parseIP(text)
	return ok
}

// parseIP reads an address as mail commands have it: IPv6 may have a prefix.
func parseIP(text string) (netip.Addr, bool) {
	if len(text) > 5 && strings.EqualFold(text[:5], "ipv6:") {
		text = text[5:]
		if !strings.Contains(text, ":") {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr, true
}

// clientIP reads an address of an enabled family.
func (s *session) clientIP(text string) (netip.Addr, bool) {
	addr, ok := parseIP(text)
	addr = addr.Unmap()
	return addr, ok && s.set.protocols.Has(addr)
}

func validPort(text string) bool {
	if text == "" || len(text) > 5 {
		return false
	}
	for i := 0; i < len(text); i++ {
		if !isDigit(text[i]) {
			return false
		}
	}
	return true
}

// parseProtocol accepts the protocol names that a client may have used.
func parseProtocol(value string) (string, bool) {
	if strings.EqualFold(value, "SMTP") || strings.EqualFold(value, "ESMTP") {
		return strings.ToUpper(value), true
	}
	return "", false
}

// xclientCommand handles XCLIENT: a trusted client speaks for another one
// (spec smtpd §7.8).
func (s *session) xclientCommand(_ string, args []token) (bool, error) {
	switch {
	case s.tx.access.HasSender:
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: MAIL transaction in progress")
	case len(args) < 2:
		return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Syntax: XCLIENT attribute=value...")
	case !s.xclient:
		return s.fail(smtpaccess.ClassPolicy, "550 5.7.0 Error: insufficient authorization")
	}
	a := &s.access
	var gotHelo, gotProto, gotLogin bool
	defer func() { a.SetLogName(s.set.portLogging) }()
	for _, arg := range args[1:] {
		name, value, ok := s.splitAttribute(arg.text)
		if !ok {
			return false, nil
		}
		switch name {
		case "NAME":
			ok = clientName(&a.Name, &a.NameStatus, value)
			if ok && a.NameStatus == smtpaccess.NameOK {
				a.ReverseName, a.ReverseStatus = a.Name, smtpaccess.NameOK
			}
		case "REVERSE_NAME":
			ok = clientName(&a.ReverseName, &a.ReverseStatus, value)
		case "ADDR":
			if value == unavailable {
				a.Address, a.IP = smtpaccess.Unknown, netip.Addr{}
				break
			}
			var addr netip.Addr
			if addr, ok = s.clientIP(value); ok {
				a.IP, a.Address = addr, addr.String()
			}
		case "PORT":
			ok = portValue(&a.Port, value)
		case "DESTPORT":
			ok = portValue(&a.ServerPort, value)
		case "DESTADDR":
			if value == unavailable {
				a.ServerAddress = smtpaccess.Unknown
				break
			}
			var addr netip.Addr
			if addr, ok = s.clientIP(value); ok {
				a.ServerAddress = addr.String()
			}
		case "HELO":
			gotHelo = true
			a.Helo, a.HasHelo = "", value != unavailable
			if a.HasHelo {
				a.Helo = neutralize(value, heloSpecials)
			}
		case "PROTO":
			var proto string
			if proto, ok = parseProtocol(value); ok {
				a.Protocol, gotProto = proto, true
			}
		case "LOGIN":
			gotLogin = true
			a.Login, a.Method = "", ""
			if value != unavailable {
				a.Login, a.Method = value, "XCLIENT"
			}
		default:
			return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Bad XCLIENT attribute name: %s", name)
		}
		if !ok {
			return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Bad %s syntax: %s", name, value)
		}
	}
	a.SetLogName(s.set.portLogging)
	s.sendNotice(true)
	s.endTransaction()
	if !gotHelo {
		a.Helo, a.HasHelo = "", false
	}
	if !gotProto {
		a.Protocol = "SMTP"
	}
	if !gotLogin {
		a.Login, a.Method = "", ""
	}
	var err error
	if s.xclient, err = s.inHosts(s.set.xclientHosts, "command XCLIENT should be allowed from"); err != nil {
		return false, err
	}
	if err = s.newlinePolicy(); err == nil {
		err = s.start()
	}
	// The success is not counted; the errors of the old identity are gone.
	s.counts[cmdXCLIENT].ok--
	return true, err
}

// clientName sets a host name that another system vouches for. A malformed one
// changes nothing.
func clientName(name *string, status *smtpaccess.NameStatus, value string) (ok bool) {
	switch {
	case value == unavailable:
		*name, *status = smtpaccess.Unknown, smtpaccess.NamePermanent
	case value == tempUnavailable:
		*name, *status = smtpaccess.Unknown, smtpaccess.NameTemporary
	case dnsclient.ValidHostname(value):
		*name, *status = value, smtpaccess.NameOK
	default:
		return false
	}
	return true
}

// portValue sets a port. A malformed one changes nothing.
func portValue(port *string, value string) (ok bool) {
	switch {
	case value == unavailable:
		*port = smtpaccess.Unknown
	case validPort(value):
		*port = value
	default:
		return false
	}
	return true
}
