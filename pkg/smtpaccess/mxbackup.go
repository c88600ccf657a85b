package smtpaccess

import (
	"strings"

	"suffix/pkg/dnsclient"
)

// permitMXBackup permits a recipient for whose domain this host is a backup
// mail exchanger (spec smtpd-access §14).
func (e *evaluation) permitMXBackup(r *restriction, rcpt string) verdict {
	if !e.c.cfg.Dialect37() {
		e.c.warnMXBackup.Do(func() {
			e.s.Log.Warnf("support for restriction \"permit_mx_backup\" will be removed from Postfix; instead, specify \"relay_domains\"")
		})
	}
	route, v, ok := e.resolve(rcpt)
	if !ok {
		return v
	}
	yes := func() verdict {
		e.logPermit(r.word, classClient, e.s.LogName, "")
		return permit
	}
	if e.authorized(route) {
		return yes()
	}
	domain := domainOf(route.Recipient)
	if domain == "" || strings.HasPrefix(domain, "[") || routed(route) {
		return dunno
	}
	later := func(reason string) verdict {
		return e.deferIfReject(ClassPolicy, 450, "4.4.4", rejected(rcpt, classRecipient, reason))
	}
	answer := e.c.resolver.Lookup(e.ctx, dnsclient.ToASCII(domain), dnsclient.TypeMX)
	switch answer.Result {
	case dnsclient.OK:
	case dnsclient.Retry, dnsclient.Policy:
		return later("Unable to look up mail exchanger information: " + answer.Text)
	default:
		return dunno
	}
	best := answer.Records[0].Pref
	for _, mx := range answer.Records {
		best = min(best, mx.Pref)
	}
	isBackup := false
	for _, mx := range answer.Records {
		own, reason := e.isMe(mx.Target)
		switch {
		case reason != "":
			return later("Unable to look up mail exchanger host " + mx.Target + ": " + reason)
		case own && mx.Pref == best:
			return dunno
		case own:
			isBackup = true
		}
	}
	if !isBackup {
		return dunno
	}
	if !e.c.mxBackupNetworks.Empty() {
		for _, mx := range answer.Records {
			if mx.Pref != best {
				continue
			}
			if v, ok := e.inBackupNetworks(mx.Target, later); !ok {
				return v
			}
		}
	}
	return yes()
}

// isMe says whether a mail exchanger is this host, by name or by address. A
// reason tells why that is not known.
func (e *evaluation) isMe(host string) (own bool, reason string) {
	if match, err := e.c.myDestination.Match(host); err == nil && match {
		return true, ""
	}
	answer := e.c.addresses(e.ctx, host)
	switch {
	case answer.Result.Missing():
		return false, ""
	case answer.Result != dnsclient.OK:
		return false, answer.Text
	}
	for _, record := range answer.Records {
		if e.c.isOwnOrProxy(record.Addr) {
			return true, ""
		}
	}
	return false, ""
}

// inBackupNetworks says whether all addresses of a primary mail exchanger are
// in permit_mx_backup_networks.
func (e *evaluation) inBackupNetworks(host string, later func(string) verdict) (v verdict, ok bool) {
	answer := e.c.addresses(e.ctx, host)
	if answer.Result != dnsclient.OK {
		return later("Unable to look up host " + host + " as mail exchanger: " + answer.Text), false
	}
	for _, record := range answer.Records {
		match, err := e.c.mxBackupNetworks.MatchHost(host, record.Addr.String())
		if err != nil {
			return later("Unable to verify host " + host + " as mail exchanger"), false
		}
		if !match {
			return dunno, false
		}
	}
	return dunno, true
}
