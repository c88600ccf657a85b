package smtpclient

import (
	"context"
	"net/netip"
	"strings"

	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
)

// An Engine delivers mail. It is safe for concurrent use.
type Engine struct {
	cfg   *Config
	cache *cache
}

// New makes an Engine.
func New(cfg *Config) *Engine { return &Engine{cfg: cfg, cache: newCache()} }

// Close ends all idle connections.
func (e *Engine) Close() { e.cache.closeAll() }

// Deliver is the deliver.Deliverer of the SMTP and LMTP client: it records the
// outcome of each recipient of the request, and returns what is wrong with the
// destination as a whole, if anything is.
func (e *Engine) Deliver(ctx context.Context, req *deliver.Request) dsn.DSN {
	return e.deliver(ctx, req, req)
}

func (e *Engine) deliver(ctx context.Context, req *deliver.Request, rec Recorder) dsn.DSN {
	d := &delivery{e: e, cfg: e.cfg, ctx: ctx, req: req, rec: rec,
		rcpts: make([]recipient, len(req.Recipients)), visited: make(map[netip.AddrPort]bool)}
	for i := range req.Recipients {
		d.rcpts[i].Recipient = &req.Recipients[i]
	}
	const wanted = deliver.OptHeaderUTF8 | deliver.OptSenderUTF8 | deliver.OptRecipientUTF8
	d.needUTF8 = req.SendOpts&deliver.OptSMTPUTF8 != 0 && req.SendOpts&wanted != 0
	if !d.acceptable() {
		return dsn.DSN{}
	}
	list := splitDestinations(req.NextHop)
	if len(list) == 0 {
		e.cfg.Log.Logf(maillog.Fatal, "empty nexthop hostname")
		d.failAll("none", configurationError)
		return dsn.DSN{}
	}
	d.destinations(list)
	d.leftOver(list[0])
	if d.completed {
		return dsn.DSN{}
	}
	return d.hop
}

// configurationError is the outcome of requests that this program cannot act
// on because of its configuration.
var configurationError = dsn.DSN{Status: "4.3.5", Reason: "mail system configuration error"}

// acceptable deals with requests that cannot be delivered at all.
func (d *delivery) acceptable() bool {
	c := d.cfg
	if c.Refusal != "" {
		d.failAll("none", dsn.DSN{Status: c.RefusalStatus, Reason: c.Refusal})
		return false
	}
	if !c.IPv4 && !c.IPv6 && !strings.HasPrefix(d.req.NextHop, "unix:") {
		d.failAll("none", dsn.DSN{Status: "4.4.4", Reason: "all network protocols are disabled"})
		return false
	}
	for _, f := range []struct {
		on     bool
		letter string
	}{{c.Flags.DeliveredTo, "D"}, {c.Flags.OriginalTo, "O"}} {
		if f.on && len(d.rcpts) > 1 {
			c.Log.Warnf("flag `%s' requires %s_destination_recipient_limit = 1", f.letter, c.Service)
			d.failAll(c.Service, configurationError)
			return false
		}
	}
	if c.Flags.DeliveredTo {
		address, err := c.generic(d.rcpts[0].Address)
		if err == nil {
			var loop bool
			if loop, err = d.hasDeliveredTo(address); loop {
				d.failAll(c.Service, dsn.DSN{Status: "5.4.6", Reason: "mail forwarding loop for " + address})
				return false
			}
		}
		if err != nil {
			c.Log.Warnf("%s: %v", d.req.QueueID, err)
			d.failAll(c.Service, dsn.DSN{Status: "4.3.0", Reason: "error reading message"})
			return false
		}
	}
	return true
}

// destinations tries one entry of the list after the other
// (spec smtp-client §2.2).
func (d *delivery) destinations(list []string) {
	c := d.cfg
	fallback := len(list)
	if strings.HasPrefix(list[0], "unix:") && c.LMTP {
		if len(c.FallbackRelay) > 0 {
			c.Log.Warnf("ignoring \"%s_fallback_relay = %s\" setting for non-TCP connections", c.Prefix, strings.Join(c.FallbackRelay, ", "))
		}
	} else {
		list = append(list, c.FallbackRelay...)
	}
	for i, text := range list {
		if d.left() == 0 || d.ctx.Err() != nil {
			return
		}
		d.fallback = i >= fallback
		dest, err := c.parseDestination(text)
		if err != nil {
			// A broken next hop is a configuration error that nobody but the
			// administrator can repair: the mail waits for that.
			c.Log.Logf(maillog.Fatal, "%v", err)
			d.failAll("none", configurationError)
			return
		}
		last := i == len(list)-1
		if dest.unix != "" {
			d.local(dest, i == 0, last)
			continue
		}
		if !d.remote(dest, i == 0, last) {
			return
		}
	}
}

// remote tries the servers of a destination. It returns false when no further
// destination may be tried.
func (d *delivery) remote(dest *destination, first, last bool) bool {
	c := d.cfg
	if dest.port == 465 && !c.Wrapper && c.HelpfulWarnings {
		c.Log.Infof("SMTPS wrappermode (TCP port 465) requires setting \"%s_tls_wrappermode = yes\", and \"%s_tls_security_level = encrypt\" (or stronger)", c.Prefix, c.Prefix)
	}
	d.loopCheck = !c.LMTP && dest.port == 25
	targets, found := c.addresses(d.ctx, dest, d.loopCheck)
	if found.why.Status != "" && len(targets) == 0 {
		d.why = found.why
	}
	if found.foundMe || len(targets) == 0 && strings.HasSuffix(d.why.Status, ".4.6") {
		last = true
	}
	if first && len(targets) > 0 {
		d.cachePolicy(dest)
	}
	d.servers(dest, targets, last)
	return !last
}

// servers tries one address after the other (spec smtp-client §2.3).
func (d *delivery) servers(dest *destination, targets []target, last bool) {
	c := d.cfg
	addresses, sessions := 0, 0
	if d.load {
		targets = d.unvisited(targets)
		used := d.cached(dest, &targets, last, &sessions)
		if used && d.left() == 0 {
			return
		}
	}
	for i := 0; i < len(targets); i++ {
		if d.left() == 0 || d.ctx.Err() != nil {
			return
		}
		t := &targets[i]
		if addresses++; addresses == c.AddressLimit {
			targets = targets[:i+1]
		}
		d.tls = d.tlsText(true)
		if why := d.requireTLS(dest, t.host); why != nil {
			d.final = last && i == len(targets)-1
			d.skip(why)
			continue
		}
		var s *session
		if d.load && !t.best {
			s = d.revive(d.e.cache.findPoint(d.pointKey(t.addr.String(), t.port)))
		}
		d.final = last && i == len(targets)-1
		if s == nil {
			var why *dsn.DSN
			if s, why = c.connect(d.ctx, t); why != nil {
				c.Log.Infof("%s", why.Reason)
				d.why = *why
				continue
			}
			if !d.introduce(s, dest) {
				continue
			}
		}
		if sessions++; sessions == c.SessionLimit {
			targets = targets[:i+1]
			d.final = last
		}
		d.transact(s, dest)
	}
}

// skip deals with a server that must not be used for this message.
func (d *delivery) skip(f *failure) {
	d.why = f.dsn
	d.cfg.Log.Infof("%s: %s", d.req.QueueID, f.dsn.Reason)
}

// introduce does the handshake; false means that it failed, and that the
// failure and the connection were dealt with.
func (d *delivery) introduce(s *session, dest *destination) bool {
	s.destination = dest.text
	s.messageID = d.req.QueueID
	s.debug = d.debugs(s)
	if d.store {
		s.expires = s.start.Add(d.cfg.ReuseTimeLimit)
	}
	f := s.handshake(&handshakeRequest{id: d.req.QueueID, nexthop: d.req.NextHop,
		arrival: d.req.Times.Arrival, needUTF8: d.needUTF8, loopCheck: d.loopCheck})
	if f == nil {
		return true
	}
	d.fail(s, f)
	d.finish(s)
	return false
}

// transact sends the message over a session that is ready.
func (d *delivery) transact(s *session, dest *destination) {
	d.tls = d.tlsText(false)
	s.messageID = d.req.QueueID
	s.debug = d.debugs(s)
	t := transaction{d: d, s: s}
	t.run()
	d.finish(s)
}

// debugs says whether debug_peer_list has the server or the next hop.
func (d *delivery) debugs(s *session) bool {
	if d.cfg.DebugPeers == nil {
		return false
	}
	addr := ""
	if s.addr.IsValid() {
		addr = s.addr.String()
	}
	for _, name := range []string{s.host, d.req.NextHop} {
		if match, err := d.cfg.DebugPeers.MatchHost(name, addr); err == nil && match {
			return true
		}
	}
	return false
}

// finish saves or ends a session.
func (d *delivery) finish(s *session) {
	s.notify(d.req.Sender)
	if s.reusable() && s.features != 0 && d.store {
		dest := ""
		if !d.stored && !d.fallback {
			dest, d.stored = d.destKey(), true
		}
		where := s.addr.String()
		if !s.addr.IsValid() {
			where = s.destination
		}
		s.transcript, s.fromCache = nil, false
		d.e.cache.save(s, dest, d.pointKey(where, s.port), d.cfg.CacheTimeLimit)
	} else {
		s.quit()
		s.close()
	}
	d.endSession()
}

// local delivers to a unix-domain socket.
func (d *delivery) local(dest *destination, first, last bool) {
	c := d.cfg
	if first {
		d.cachePolicy(dest)
	}
	d.final = last
	d.tls = d.tlsText(true)
	if why := d.requireTLS(dest, c.HostName); why != nil {
		d.skip(why)
		return
	}
	var s *session
	if d.load {
		s = d.revive(d.e.cache.findDest(d.destKey()))
	}
	if s == nil {
		var why *dsn.DSN
		if s, why = c.connectUnix(d.ctx, dest.unix); why != nil {
			c.Log.Infof("%s", why.Reason)
			d.why = *why
			return
		}
		if !d.introduce(s, dest) {
			return
		}
	}
	d.transact(s, dest)
}

// cachePolicy decides whether connections are reused (spec smtp-client §11.1).
func (d *delivery) cachePolicy(dest *destination) {
	c := d.cfg
	// The list has names without brackets and port.
	if c.CacheDestinations != nil {
		match, err := c.CacheDestinations.Match(dest.host)
		if err != nil {
			c.Log.Warnf("%s: %s_connection_cache_destinations: lookup error for %s", d.req.QueueID, c.Prefix, dest.host)
		} else if match {
			d.load, d.store = true, true
			return
		}
	}
	if c.CacheOnDemand {
		d.load = d.req.Flags&deliver.FlagConnLoad != 0
		d.store = d.req.Flags&deliver.FlagConnStore != 0
	}
}

// cached delivers over connections that others left behind: first one of the
// destination, then those to its best servers.
func (d *delivery) cached(dest *destination, targets *[]target, last bool, sessions *int) bool {
	used := false
	use := func(s *session) {
		used = true
		*sessions++
		point := netip.AddrPortFrom(s.addr, s.port)
		d.visited[point] = true
		*targets = d.unvisited(*targets)
		if *sessions == d.cfg.SessionLimit {
			*targets = nil
		}
		d.final = last && len(*targets) == 0
		d.transact(s, dest)
	}
	if d.policyAllows(dest) {
		// The name stands for the whole next-hop list: it is good for one look,
		// or a connection that this request itself left behind would come back.
		if !d.looked {
			d.looked = true
			if s := d.revive(d.e.cache.findDest(d.destKey())); s != nil {
				use(s)
			}
		}
		for i := 0; i < len(*targets) && d.left() > 0; {
			t := (*targets)[i]
			if !t.best {
				break
			}
			s := d.revive(d.e.cache.findPoint(d.pointKey(t.addr.String(), t.port)))
			if s == nil {
				i++
				continue
			}
			use(s)
			i = 0
		}
	}
	return used
}

// unvisited drops addresses that were used through the cache.
func (d *delivery) unvisited(targets []target) []target {
	if len(d.visited) == 0 {
		return targets
	}
	kept := targets[:0]
	for _, t := range targets {
		if !d.visited[netip.AddrPortFrom(t.addr, t.port)] {
			kept = append(kept, t)
		}
	}
	return kept
}

// leftOver deals with recipients that no server took (spec smtp-client §2.4).
func (d *delivery) leftOver(first string) {
	if d.left() == 0 {
		return
	}
	c := d.cfg
	if d.why.Status == "" {
		d.why = dsn.DSN{Status: "4.3.0", Reason: "server unavailable or unable to receive mail"}
	}
	if dsn.Class(d.why.Status) != '4' {
		switch {
		case d.fallback:
			c.Log.Warnf("smtp_fallback_relay configuration problem")
			d.why.Status = "4.3.5"
		case !c.LMTP && c.RelayHost != "" && first == c.RelayHost:
			c.Log.Warnf("relayhost configuration problem")
			d.why.Status = "4.3.5"
		case !c.LMTP && strings.HasSuffix(d.why.Status, ".4.6") && c.BestMXTransport != "" && d.pass():
			return
		}
	}
	d.final = true
	d.fail(nil, &failure{scope: scopeSite, dsn: d.why})
}

// pass gives the recipients to best_mx_transport.
func (d *delivery) pass() bool {
	if d.cfg.Pass == nil {
		return false
	}
	transport, nexthop, _ := strings.Cut(d.cfg.BestMXTransport, ":")
	if nexthop == "" {
		nexthop = d.req.NextHop
	}
	for i := range d.rcpts {
		if r := &d.rcpts[i]; r.state != done {
			r.state = done
			d.cfg.Pass(d.ctx, d.req, transport, nexthop, *r.Recipient)
		}
	}
	return true
}
