// Package rewrite is the engine of trivial-rewrite(8): it completes addresses
// to their standard form, and finds the transport and the next hop for a
// recipient (spec qmgr §13).
//
// An Engine answers requests of the rewrite service, and of a process that
// holds one itself through rewriteclient.InProcess. It keeps its tables open
// for its whole life; Changed tells when that should end.
package rewrite

import (
	"fmt"
	"net/netip"
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/table"
)

// An Engine holds the settings and the open tables. It is safe for concurrent
// use.
type Engine struct {
	log *maillog.Logger

	// What completes addresses.
	local, remote completion
	swapBangpath  bool
	percentHack   bool

	// What the resolver knows.
	hostname       string
	origin         string
	configDir      string
	emptyRecipient string
	nullDomain     bool
	numericDomain  bool
	dequote        bool
	minUser        bool
	utf8           bool
	showTableName  bool
	helpful        bool
	prefixMoved    bool // relocated_prefix_enable
	extension      maps.Extension
	own            map[netip.Addr]bool // inet_interfaces, proxy_interfaces

	destinations   *matchlist.List
	aliasDomains   *matchlist.List
	mailboxDomains *matchlist.List
	relayDomains   *matchlist.List
	relocated      *maps.Maps
	resolve        routes
	verify         routes
}

// New reads main.cf and opens the tables. Messages go to log, nil for that of
// the program.
func New(cfg *config.Main, log *maillog.Logger) (*Engine, error) {
	if log == nil {
		log = maillog.Default()
	}
	e := &Engine{
		log:            log,
		swapBangpath:   cfg.Bool(params.SwapBangpath),
		percentHack:    cfg.Bool(params.AllowPercentHack),
		hostname:       cfg.String(params.Myhostname),
		origin:         cfg.String(params.Myorigin),
		configDir:      cfg.Dir(),
		emptyRecipient: cfg.String(params.EmptyAddressRecipient),
		nullDomain:     cfg.Bool(params.ResolveNullDomain),
		numericDomain:  cfg.Bool(params.ResolveNumericDomain),
		dequote:        cfg.Bool(params.ResolveDequotedAddress),
		minUser:        cfg.Bool(params.AllowMinUser),
		utf8:           cfg.Bool(params.Smtputf8Enable),
		showTableName:  cfg.Bool(params.ShowUserUnknownTableName),
		helpful:        cfg.Bool(params.HelpfulWarnings),
		prefixMoved:    cfg.Bool(params.RelocatedPrefixEnable),
		extension:      maps.ExtensionFrom(cfg),
		own:            make(map[netip.Addr]bool),
	}
	remoteDomain := cfg.String(params.RemoteHeaderRewriteDomain)
	atOrigin, dotDomain := cfg.Bool(params.AppendAtMyorigin), cfg.Bool(params.AppendDotMydomain)
	e.local = completion{atOrigin: atOrigin, dotDomain: dotDomain, origin: e.origin, domain: cfg.String(params.Mydomain),
		compat: dotDomain && !cfg.Explicit("append_dot_mydomain") && cfg.CompatLevelBelow("1")}
	e.remote = completion{atOrigin: atOrigin, dotDomain: dotDomain, origin: remoteDomain, domain: remoteDomain}
	for _, addresses := range []func() ([]netip.Addr, error){cfg.OwnAddresses, cfg.ProxyAddresses} {
		list, err := addresses()
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			e.own[a.Unmap().WithZone("")] = true
		}
	}
	match := func(id params.String, kind matchlist.Kind) *matchlist.List {
		return matchlist.New(params.Of(id).Name, cfg.String(id), kind, matchlist.Options{Config: cfg, NoParent: kind == matchlist.String})
	}
	e.destinations = match(params.Mydestination, matchlist.String)
	e.aliasDomains = match(params.VirtualAliasDomains, matchlist.String)
	e.mailboxDomains = match(params.VirtualMailboxDomains, matchlist.String)
	e.relayDomains = match(params.RelayDomains, matchlist.Domain)
	e.relocated = openMaps(cfg, params.RelocatedMaps, table.Reader)
	e.resolve = openRoutes(cfg, resolveParameters)
	e.verify = openRoutes(cfg, verifyParameters)
	if err := cfg.Err(); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func openMaps(cfg *config.Main, id params.String, flags table.Flags) *maps.Maps {
	return maps.Open(params.Of(id).Name, cfg.String(id), table.Options{Flags: flags, Config: cfg})
}

// watched is what may change behind an Engine's back.
type watched interface {
	Changed() (name string, changed bool)
	Close()
}

func (e *Engine) tables() []watched {
	return []watched{e.destinations, e.aliasDomains, e.mailboxDomains, e.relayDomains, e.relocated,
		e.resolve.transports, e.resolve.relayhosts, e.resolve.defaults,
		e.verify.transports, e.verify.relayhosts, e.verify.defaults}
}

// Changed names the first table whose file changed since it was opened.
func (e *Engine) Changed() (name string, changed bool) {
	for _, t := range e.tables() {
		if name, changed := t.Changed(); changed {
			return name, true
		}
	}
	return "", false
}

// Close closes the tables.
func (e *Engine) Close() {
	for _, t := range e.tables() {
		t.Close()
	}
}

// A RuleError reports a rewriting context that does not exist.
type RuleError struct{ Rule string }

func (r *RuleError) Error() string { return "unknown context: " + r.Rule }

// Rewrite completes an address; both are in external (quoted) form.
func (e *Engine) Rewrite(rule rewriteclient.Rule, text string) (string, error) {
	var c *completion
	switch rule {
	case rewriteclient.Local:
		c = &e.local
	case rewriteclient.Remote:
		c = &e.remote
	default:
		return "", &RuleError{string(rule)}
	}
	if text == "" {
		e.log.Warnf("rewrite_addr: null address")
		return "", nil
	}
	return address.Quote(internal(e.complete(parse(text), c))), nil
}

// Resolve finds the destination of an address in internal form; see
// rewriteclient.Engine. The error is always nil: what goes wrong shows in the
// flags of the reply.
func (e *Engine) Resolve(sender, addr string, verify bool) (rewriteclient.Reply, error) {
	r := &e.resolve
	if verify {
		r = &e.verify
	}
	q := query{e: e, routes: r, sender: sender, addr: addr, reply: rewriteclient.Reply{
		Transport: "CHANNEL NOT UPDATED",
		NextHop:   "NEXTHOP NOT UPDATED",
		Recipient: "NEXTRCPT NOT UPDATED",
	}}
	q.run()
	return q.reply, nil
}

// lookupFailure logs that a list or table could not be searched.
func (e *Engine) lookupFailure(parameter string) {
	e.log.Warnf("%s lookup failure", parameter)
}

// isLocal says whether a domain is delivered to on this machine (spec §13.5).
func (e *Engine) isLocal(domain string) (bool, error) {
	domain = strings.TrimSuffix(domain, ".")
	if domain == "" || strings.HasSuffix(domain, ".") {
		return false, nil
	}
	if found, err := e.destinations.Match(domain); found || err != nil {
		if err != nil {
			err = fmt.Errorf("mydestination: %w", err)
		}
		return found, err
	}
	if len(domain) > 2 && domain[0] == '[' && domain[len(domain)-1] == ']' {
		if a, err := netip.ParseAddr(withoutTag(domain[1 : len(domain)-1])); err == nil {
			return e.own[a.Unmap().WithZone("")], nil
		}
	}
	return false, nil
}
