package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sort"

	"suffix/pkg/dnsclient"
	"suffix/pkg/dsn"
)

// A target is one address to connect to.
type target struct {
	addr netip.Addr
	host string // name under which it was found
	port uint16
	pref int
	best bool // has the best preference that was found
}

// A lookup collects the addresses of a destination (spec smtp-client §3).
type lookup struct {
	cfg       *Config
	ctx       context.Context
	loopCheck bool

	soft    bool // some lookup failed for now
	why     dsn.DSN
	foundMe bool // this host is among the servers
}

// addresses returns where to connect, in order. Without any, l.why says why.
func (c *Config) addresses(ctx context.Context, d *destination, loopCheck bool) ([]target, *lookup) {
	l := &lookup{cfg: c, ctx: ctx, loopCheck: loopCheck}
	var list []target
	switch {
	case d.literal || d.direct || c.DNS == nil && c.LMTP:
		list = l.asHost(d.host, d.port)
	default:
		if c.DNS != nil && c.UseSRV != nil {
			if match, err := c.UseSRV.Match(d.service); err != nil {
				l.fail("4.3.0", "use_srv_lookup: table lookup error")
				return nil, l
			} else if match {
				var final bool
				if list, final = l.asService(d); final {
					return list, l
				}
			}
		}
		if c.LMTP || c.DNS == nil {
			list = l.asHost(d.host, d.port)
		} else {
			list = l.asDomain(d.host, d.port)
		}
	}
	return list, l
}

// fail records why there is nothing; a permanent error does not replace a
// temporary one, it becomes temporary.
func (l *lookup) fail(status, reason string) {
	if l.soft {
		status = dsn.WithClass(status, '4')
	}
	if dsn.Class(status) == '4' {
		l.soft = true
	}
	l.why = dsn.DSN{Status: status, Reason: reason}
}

// asHost looks up a host: no MX.
func (l *lookup) asHost(host string, port uint16) []target {
	list := l.host(nil, host, port, 0)
	if l.loopCheck {
		for _, t := range list {
			if l.cfg.isSelf(t.addr) {
				l.foundMe = true
				l.fail("5.4.6", "mail for "+host+" loops back to myself")
				return nil
			}
		}
	}
	if len(list) > 1 && l.cfg.RandomizeAddresses {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	if l.cfg.IPv4 && l.cfg.IPv6 {
		l.cfg.sortTargets(list)
	}
	return l.cfg.balanced(list)
}

// asDomain looks up the mail exchangers of a domain.
func (l *lookup) asDomain(domain string, port uint16) []target {
	c := l.cfg
	answer := c.DNS.Lookup(l.ctx, domain, dnsclient.TypeMX)
	switch answer.Result {
	case dnsclient.OK:
	case dnsclient.NotFound, dnsclient.NoData:
		return l.asHost(domain, port)
	case dnsclient.NullMX:
		l.fail("5.1.0", answer.Text)
		return nil
	case dnsclient.Policy:
		l.fail("4.7.0", answer.Text)
		return nil
	default:
		l.fail(map[dnsclient.Result]string{dnsclient.Retry: "4.4.3", dnsclient.Invalid: "5.4.4"}[answer.Result], answer.Text)
		if answer.Result == dnsclient.Fail {
			l.fail("5.4.3", answer.Text)
		}
		if c.IgnoreMXError {
			l.soft, l.why = false, dsn.DSN{}
			return l.asHost(domain, port)
		}
		return nil
	}
	records := answer.Records
	sort.SliceStable(records, func(i, j int) bool { return records[i].Pref < records[j].Pref })
	best := int(records[0].Pref)
	var list []target
	for _, mx := range records {
		list = l.exchanger(list, &mx, port)
	}
	if len(list) == 0 {
		c.Log.Warnf("no MX host for %s has a valid address record", domain)
		if c.DeferIfNoMX {
			l.why.Status = dsn.WithClass(l.why.Status, '4')
		}
		return nil
	}
	bestFound := list[0].pref
	if l.loopCheck {
		list = l.dropSelf(list)
	}
	if len(list) == 0 {
		if bestFound != best {
			l.fail("4.4.4", "unable to find primary relay for "+domain)
		} else {
			l.fail("5.4.6", "mail for "+domain+" loops back to myself")
		}
		return nil
	}
	if len(list) > 1 && c.RandomizeAddresses {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	c.sortTargets(list)
	return c.balanced(list)
}

// exchanger adds the addresses of one MX or SRV host.
func (l *lookup) exchanger(list []target, r *dnsclient.Record, port uint16) []target {
	if r.Addr.IsValid() {
		if l.enabled(r.Addr) {
			return append(list, target{addr: r.Addr, host: r.Target, port: port, pref: int(r.Pref)})
		}
		l.fail("5.4.4", fmt.Sprintf("%s: host not found", r.Target))
		return list
	}
	return l.host(list, r.Target, port, int(r.Pref))
}

// dropSelf removes this host and all servers that are not better than it.
func (l *lookup) dropSelf(list []target) []target {
	for i, t := range list {
		if l.cfg.isSelf(t.addr) {
			l.foundMe = true
			for i > 0 && list[i-1].pref >= t.pref {
				i--
			}
			return list[:i]
		}
	}
	return list
}

func (l *lookup) enabled(a netip.Addr) bool {
	return a.Is4() && l.cfg.IPv4 || a.Is6() && l.cfg.IPv6
}

// host adds the addresses of a host to list.
func (l *lookup) host(list []target, host string, port uint16, pref int) []target {
	c := l.cfg
	add := func(a netip.Addr, name string) {
		if len(list) < dnsclient.MaxRecords {
			list = append(list, target{addr: a, host: name, port: port, pref: pref})
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a = a.Unmap(); l.enabled(a) {
			add(a, host)
		} else {
			l.fail("5.4.4", host+": host not found")
		}
		return list
	}
	if c.DNS != nil {
		var types []uint16
		if c.IPv4 {
			types = append(types, dnsclient.TypeA)
		}
		if c.IPv6 {
			types = append(types, dnsclient.TypeAAAA)
		}
		answer := c.DNS.LookupAddrs(l.ctx, host, types...)
		if answer.Result == dnsclient.OK {
			name := host
			if c.CnameOverrides {
				name = answer.Name
			}
			for _, r := range answer.Records {
				add(r.Addr, name)
			}
			return list
		}
		status := "5.4.4"
		switch answer.Result {
		case dnsclient.Retry:
			status = "4.4.3"
		case dnsclient.Fail:
			status = "5.4.3"
		case dnsclient.Policy:
			status = "4.7.0"
		}
		if !c.NativeLookup || !answer.Result.Missing() {
			l.fail(status, answer.Text)
			return list
		}
	}
	l.native(host, add)
	return list
}

// native asks the system's resolver and calls add for what it finds.
func (l *lookup) native(host string, add func(a netip.Addr, name string)) {
	c := l.cfg
	addrs, err := c.System.NativeAddrs(l.ctx, host)
	if err != nil {
		status := "5.3.0"
		var n *dnsclient.NativeError
		if errors.As(err, &n) {
			switch n.Result {
			case dnsclient.NativeNoName, dnsclient.NativeNoData:
				status = "5.4.4"
			case dnsclient.NativeAgain:
				status = "4.4.4"
			case dnsclient.NativeSystem:
				status = "4.3.0"
			}
		}
		l.fail(status, fmt.Sprintf("unable to look up host %s: %v", host, err))
		return
	}
	found := false
	for _, a := range addrs {
		if !l.enabled(a) {
			family := 2
			if a.Is6() {
				family = 10
			}
			c.Log.Infof("skipping address family %d for host %s", family, host)
			continue
		}
		found = true
		add(a, host)
	}
	if !found {
		l.fail("5.4.4", host+": host not found")
	}
}

// sortTargets orders by preference, and by family where that is asked for.
func (c *Config) sortTargets(list []target) {
	family := func(t *target) int {
		switch {
		case c.AddressPreference == "ipv4" && t.addr.Is6(), c.AddressPreference == "ipv6" && t.addr.Is4():
			return 1
		}
		return 0
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		if a.pref != b.pref {
			return a.pref < b.pref
		}
		return family(a) < family(b)
	})
}

// balanced marks the best servers and drops addresses so that both families
// have a chance within the address limit (spec smtp-client §3.4).
func (c *Config) balanced(list []target) []target {
	for i := range list {
		list[i].best = list[i].pref == list[0].pref
	}
	limit := min(c.AddressLimit, dnsclient.MaxRecords)
	if limit <= 0 || !c.BalanceProtocols || len(list) <= limit {
		return list
	}
	n4, n6 := 0, 0
	for _, t := range list {
		if t.addr.Is4() {
			n4++
		} else {
			n6++
		}
	}
	if n4 == 0 || n6 == 0 {
		return list
	}
	switch {
	case n6 <= limit/2:
		n4 = limit - n6
	case n4 <= limit/2:
		n6 = limit - n4
	default:
		n4 = limit
		if list[0].addr.Is4() {
			n4++
		}
		n4 /= 2
		n6 = limit - n4
	}
	kept := list[:0]
	for _, t := range list {
		room := &n4
		if t.addr.Is6() {
			room = &n6
		}
		if *room > 0 {
			*room--
			kept = append(kept, t)
		}
	}
	return kept
}
