package smtpaccess

import (
	"strings"

	"suffix/pkg/params"
)

// clientRule evaluates the restrictions on the client's name, address and
// credentials.
func (e *evaluation) clientRule(r *restriction) (verdict, bool) {
	s := e.s
	permitIf := func(ok bool) (verdict, bool) {
		if !ok {
			return dunno, true
		}
		e.logPermit(r.word, classClient, s.LogName, "")
		return permit, true
	}
	switch r.kind {
	case "permit_inet_interfaces":
		return permitIf(e.c.isOwn(s.IP))
	case "permit_mynetworks":
		match, err := e.c.myNetworks.MatchHost(s.Name, s.Address)
		if err != nil {
			return e.deferIfReject(ClassData, 451, "4.3.0", "<"+s.LogName+">: Temporary lookup failure"), true
		}
		if match {
			e.noteNetworks()
		}
		return permitIf(match)
	case "permit_sasl_authenticated":
		return permitIf(s.Login != "" && !strings.EqualFold(s.Method, "anonymous"))
	case "permit_tls_clientcerts", "permit_tls_all_clientcerts", "check_ccert_access":
		// No TLS session, hence no certificate.
		return dunno, true
	case "check_client_access":
		return e.checkNameAddr(r.table, s.Name, s.Address, s.LogName, classClient), true
	case "check_reverse_client_hostname_access":
		v := e.checkNameAddr(r.table, s.ReverseName, s.Address, s.ReverseName, classReverseClient)
		return e.forbidPermit(v, r.word, s.ReverseName), true
	case "check_client_a_access", "check_client_mx_access", "check_client_ns_access":
		if s.Name == Unknown {
			return dunno, true
		}
		return e.serverAccess(r, s.Name, s.LogName, classClient), true
	case "check_reverse_client_hostname_a_access", "check_reverse_client_hostname_mx_access", "check_reverse_client_hostname_ns_access":
		if s.ReverseName == Unknown {
			return dunno, true
		}
		return e.serverAccess(r, s.ReverseName, s.ReverseName, classReverseClient), true
	case "check_sasl_access":
		return e.saslAccess(r), true
	case "reject_unknown_client_hostname":
		if s.NameStatus == NameOK {
			return dunno, true
		}
		return e.refuse(ClassPolicy, e.clientCode(s.NameStatus), "4.7.25", "Client host rejected: cannot find your hostname, ["+s.Address+"]"), true
	case "reject_unknown_reverse_client_hostname":
		if s.ReverseStatus == NameOK {
			return dunno, true
		}
		return e.refuse(ClassPolicy, e.clientCode(s.ReverseStatus), "4.7.1", "Client host rejected: cannot find your reverse hostname, ["+s.Address+"]"), true
	case "reject_rbl_client":
		return e.blockedAddr(r, classClient), true
	case "reject_rhsbl_client":
		if s.Name == Unknown {
			return dunno, true
		}
		return e.blockedName(r, s.Name, s.Name, classClient), true
	case "reject_rhsbl_reverse_client":
		if s.ReverseName == Unknown {
			return dunno, true
		}
		return e.blockedName(r, s.ReverseName, s.ReverseName, classReverseClient), true
	case "permit_dnswl_client":
		return e.allowedAddr(r), true
	case "permit_rhswl_client":
		return e.allowedName(r), true
	}
	return dunno, false
}

// clientCode is the reply code for a client without a name: temporary where the
// lookup may succeed later.
func (e *evaluation) clientCode(status NameStatus) int {
	if status == NameTemporary {
		return 450
	}
	return e.c.code(params.UnknownClientRejectCode)
}

// saslAccess applies a table to the login name.
func (e *evaluation) saslAccess(r *restriction) verdict {
	if !e.c.sasl {
		return e.noSASL(r)
	}
	if e.s.Login == "" {
		return dunno
	}
	value, found := e.get(r.table, e.s.Login, true)
	if !found {
		return dunno
	}
	name := []byte(e.s.Login)
	for i, c := range name {
		if c < ' ' || c > '~' {
			name[i] = '_'
		}
	}
	return e.apply(result{r.table.Name(), value, e.s.Login, string(name), classLogin})
}

// noSASL tells that a restriction cannot work.
func (e *evaluation) noSASL(r *restriction) verdict {
	e.s.Log.Warnf("restriction `%s' ignored: no SASL support", r.word)
	return dunno
}

// forbidPermit turns a permit into a configuration error: who controls the
// data that led to it must not be able to pass (spec smtpd-access §9).
func (e *evaluation) forbidPermit(v verdict, word, name string) verdict {
	if v != permit || e.s.Tx.Actions.Discard {
		return v
	}
	e.s.Log.Warnf("restriction %s returns OK for %s", word, name)
	e.s.Log.Warnf("this is not allowed for security reasons")
	e.s.Log.Warnf("use DUNNO instead of OK if you want to make an exception")
	return e.misconfigured()
}
