package smtpserver

import (
	"net/netip"
	"strings"

	"suffix/pkg/dnsclient"
	"suffix/pkg/smtpaccess"
)

// forwarded is what XFORWARD tells about the client of the system in front of
// this one. It is used for logging only, and for one transaction.
type forwarded struct {
	name, address, port, helo, protocol string
	ip                                  netip.Addr
	ident                               string // upstream queue ID
	domain                              string // rewrite context
	identity                            bool   // any of the client's attributes was given
}

// logName is the client in log form.
func (f *forwarded) logName(withPort bool) string {
	if f.address == smtpaccess.Unknown {
		return f.name
	}
	if withPort {
		return f.name + "[" + f.address + "]:" + f.port
	}
	return f.name + "[" + f.address + "]"
}

func (f *forwarded) rfcAddress() string {
	if f.ip.Is6() && !f.ip.Is4In6() {
		return "IPv6:" + f.address
	}
	return f.address
}

// maxForwardProtocol bounds the protocol name in XFORWARD.
const maxForwardProtocol = 64

// xforwardCommand handles XFORWARD (spec smtpd §7.9).
func (s *session) xforwardCommand(_ string, args []token) (bool, error) {
	switch {
	case s.tx.access.HasSender:
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: MAIL transaction in progress")
	case len(args) < 2:
		return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Syntax: XFORWARD attribute=value...")
	case !s.xforward:
		return s.fail(smtpaccess.ClassPolicy, "550 5.7.0 Error: insufficient authorization")
	}
	f := s.tx.forward
	if f == nil {
		f = &forwarded{
			name: smtpaccess.Unknown, address: smtpaccess.Unknown, port: smtpaccess.Unknown,
			helo: smtpaccess.Unknown, protocol: smtpaccess.Unknown,
		}
		s.tx.forward = f
	}
	for _, arg := range args[1:] {
		name, value, ok := s.splitAttribute(arg.text)
		if !ok {
			return false, nil
		}
		known := value != unavailable
		switch name {
		case "NAME":
			f.identity = true
			if value = neutralize(value, heloSpecials); !known {
				f.name = smtpaccess.Unknown
			} else if ok = dnsclient.ValidHostname(value); ok {
				f.name = value
			}
		case "ADDR":
			f.identity = true
			if !known {
				f.address, f.ip = smtpaccess.Unknown, netip.Addr{}
				break
			}
			var addr netip.Addr
			if addr, ok = s.clientIP(neutralize(value, heloSpecials)); ok {
				f.ip, f.address = addr, addr.String()
			}
		case "PORT":
			f.identity = true
			ok = portValue(&f.port, value)
		case "HELO":
			f.identity = true
			f.helo = smtpaccess.Unknown
			if known {
				f.helo = neutralize(value, heloSpecials)
			}
		case "PROTO":
			f.identity = true
			if !known {
				f.protocol = smtpaccess.Unknown
			} else if ok = len(value) <= maxForwardProtocol; ok {
				f.protocol = neutralize(value, heloSpecials)
			}
		case "IDENT":
			f.ident = ""
			if known {
				f.ident = neutralize(value, heloSpecials)
			}
		case "SOURCE":
			switch {
			case !known, strings.EqualFold(value, "LOCAL"):
				f.domain = "local"
			case strings.EqualFold(value, "REMOTE"):
				f.domain = "remote"
			default:
				ok = false
			}
		default:
			return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Bad XFORWARD attribute name: %s", name)
		}
		if !ok {
			return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Bad %s syntax: %s", name, value)
		}
	}
	s.reply("250 2.0.0 Ok")
	return true, nil
}
