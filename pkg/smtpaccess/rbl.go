package smtpaccess

import (
	"container/list"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"suffix/pkg/dnsclient"
	"suffix/pkg/macro"
	"suffix/pkg/params"
)

// rblCacheSize is how many DNS list results a process remembers.
const rblCacheSize = 100

// maxRBLText bounds the text that a DNS list may add to a reply.
const maxRBLText = 500

// An rblResult is the answer of a DNS list for one name.
type rblResult struct {
	addrs []netip.Addr // empty: not listed
	text  string
	err   string // the lookup failed
}

// An rblCache remembers the results used last.
type rblCache struct {
	mu    sync.Mutex
	size  int
	order *list.List // front: used last
	items map[string]*list.Element
}

type rblItem struct {
	query  string
	result rblResult
}

func newRBLCache(size int) *rblCache {
	return &rblCache{size: size, order: list.New(), items: make(map[string]*list.Element)}
}

func (c *rblCache) get(query string) (rblResult, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	item, ok := c.items[query]
	if !ok {
		return rblResult{}, false
	}
	c.order.MoveToFront(item)
	return item.Value.(rblItem).result, true
}

func (c *rblCache) put(query string, result rblResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[query]; ok {
		return
	}
	c.items[query] = c.order.PushFront(rblItem{query, result})
	if c.order.Len() > c.size {
		last := c.order.Back()
		delete(c.items, last.Value.(rblItem).query)
		c.order.Remove(last)
	}
}

// lookupRBL asks a DNS list about a name.
func (e *evaluation) lookupRBL(query string) rblResult {
	if result, ok := e.c.rbl.get(query); ok {
		return result
	}
	var result rblResult
	answer := e.c.resolver.Lookup(e.ctx, query, dnsclient.TypeA)
	switch {
	case answer.Result == dnsclient.OK:
		for _, record := range answer.Records {
			result.addrs = append(result.addrs, record.Addr)
		}
		result.text = e.rblText(query)
	case !answer.Result.Missing():
		e.s.Log.Warnf("%s: RBL lookup error: %s", query, answer.Text)
		result.err = answer.Text
	}
	if e.ctx.Err() == nil {
		e.c.rbl.put(query, result)
	}
	return result
}

// rblText returns the reason that a DNS list gives.
func (e *evaluation) rblText(query string) string {
	answer := e.c.resolver.Lookup(e.ctx, query, dnsclient.TypeTXT)
	if answer.Result == dnsclient.Policy {
		e.s.Log.Warnf("%s: TXT lookup error: DNS reply filter drops all results", query)
	}
	if answer.Result != dnsclient.OK {
		return ""
	}
	var texts []string
	for _, record := range answer.Records {
		texts = append(texts, record.Text)
	}
	return cutText(strings.Join(texts, " / "), maxRBLText)
}

// listed asks a DNS list (domain or domain=pattern) about a name.
func (e *evaluation) listed(name, arg string) (result rblResult, listed bool, err error) {
	domain, pattern, hasPattern := strings.Cut(arg, "=")
	var match func(netip.Addr) bool
	if hasPattern {
		if match, err = parseAddrPattern(pattern); err != nil {
			return result, false, fmt.Errorf("RBL reply error: %w", err)
		}
	}
	result = e.lookupRBL(name + "." + domain)
	for _, addr := range result.addrs {
		if match == nil || match(addr) {
			return result, true, nil
		}
	}
	return result, false, nil
}

// reversed returns the name under which DNS lists have an address.
func reversed(addr netip.Addr) string {
	var b strings.Builder
	if addr.Is4() {
		octets := addr.As4()
		return fmt.Sprintf("%d.%d.%d.%d", octets[3], octets[2], octets[1], octets[0])
	}
	octets := addr.As16()
	for i := len(octets) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		fmt.Fprintf(&b, "%x.%x", octets[i]&15, octets[i]>>4)
	}
	return b.String()
}

// blockedAddr refuses a client whose address is in a DNS list.
func (e *evaluation) blockedAddr(r *restriction, class string) verdict {
	if !e.rblArgument(r) || !e.s.IP.IsValid() {
		return dunno
	}
	result, listed, err := e.listed(reversed(e.s.IP), r.arg)
	return e.blocked(r, result, listed, err, e.s.Address, class)
}

// blockedName refuses what belongs to a domain in a DNS list.
func (e *evaluation) blockedName(r *restriction, domain, what, class string) verdict {
	if !e.rblArgument(r) {
		return dunno
	}
	domain = dnsclient.ToASCII(domain)
	if !rblName(domain) {
		return dunno
	}
	result, listed, err := e.listed(domain, r.arg)
	return e.blocked(r, result, listed, err, what, class)
}

// rblName says that a domain may be looked for in a DNS list.
func rblName(domain string) bool {
	last := domain[strings.LastIndexByte(domain, '.')+1:]
	return domain != "" && last != "" && digits(last) != len(last) && dnsclient.ValidHostname(domain)
}

func (e *evaluation) rblArgument(r *restriction) bool {
	if r.arg == "" {
		e.s.Log.Warnf("restriction %s requires domain name argument", r.word)
	}
	return r.arg != ""
}

// blocked builds the refusal that a DNS list leads to.
func (e *evaluation) blocked(r *restriction, result rblResult, listed bool, err error, what, class string) verdict {
	if err != nil {
		e.s.Log.Warnf("%s", err)
		return e.misconfigured()
	}
	if !listed {
		return dunno
	}
	text, ok := e.rblReply(r.arg, result.text, what, class)
	if !ok {
		return e.misconfigured()
	}
	if digits(text) != 3 || text[0] != '4' && text[0] != '5' || len(text) > 3 && text[3] != ' ' {
		e.s.Log.Warnf("rbl response code configuration error: %s", text)
		return e.refuse(ClassPolicy, 450, "4.7.1", "Service unavailable")
	}
	code, _ := strconv.Atoi(text[:3])
	status, rest := splitStatus(strings.TrimLeft(text[3:], " "), text[:1]+".7.1")
	if rest == "" {
		rest = "Service unavailable"
	}
	return e.refuse(ClassPolicy, code, e.mapStatus(status, class), rest)
}

// rblReply expands the reply template for a DNS list.
func (e *evaluation) rblReply(arg, reason, what, class string) (text string, ok bool) {
	domain, _, _ := strings.Cut(arg, "=")
	lookup := func(name string) (string, bool) {
		switch name {
		case "rbl_code":
			return strconv.Itoa(e.c.code(params.MapsRblRejectCode)), true
		case "rbl_domain":
			return domain, true
		case "rbl_reason", "rbl_txt":
			return reason, reason != ""
		case "rbl_what":
			return what, true
		case "rbl_class":
			return class, true
		}
		return e.s.Macro(name)
	}
	options := macro.Options{Once: true, Allowed: e.c.expansionFilter}
	keys := []string{arg}
	if domain != arg && !e.c.cfg.Dialect37() {
		keys = append(keys, domain)
	}
	for _, key := range keys {
		template, found, err := e.c.rblReplyMaps.Find(key)
		if err != nil {
			return "", false
		}
		if !found {
			continue
		}
		if text, err = macro.Expand(template, lookup, options); err == nil {
			return text, true
		}
		e.s.Log.Warnf("%s: bad rbl reply template for domain %s: %s", e.c.rblReplyMaps.Title(), domain, template)
		break
	}
	text, err := macro.Expand(e.c.defaultRBL, lookup, options)
	if err != nil {
		e.s.Log.Warnf("default_rbl_reply: bad rbl reply template for domain %s: %s", domain, e.c.defaultRBL)
		return "", false
	}
	return text, true
}

// allowedAddr permits a client whose address is in a DNS list of good ones.
func (e *evaluation) allowedAddr(r *restriction) verdict {
	if !e.rblArgument(r) || !e.s.IP.IsValid() {
		return dunno
	}
	result, listed, err := e.listed(reversed(e.s.IP), r.arg)
	return e.allowed(r, result, listed, err, e.s.Address)
}

// allowedName permits a client whose name is in a DNS list of good ones.
func (e *evaluation) allowedName(r *restriction) verdict {
	name := dnsclient.ToASCII(e.s.Name)
	if !e.rblArgument(r) || e.s.Name == Unknown || !rblName(name) {
		return dunno
	}
	result, listed, err := e.listed(name, r.arg)
	return e.allowed(r, result, listed, err, e.s.Name)
}

func (e *evaluation) allowed(r *restriction, result rblResult, listed bool, err error, what string) verdict {
	switch {
	case err != nil:
		e.s.Log.Warnf("%s", err)
		return e.misconfigured()
	case result.err != "":
		return e.deferIfReject(ClassPolicy, 450, "4.7.1", rejected(what, classClient, "Service unavailable"))
	case !listed:
		return dunno
	}
	// A list entry must not turn this system into a relay.
	if e.s.Stage == "RCPT" && e.s.Tx.HasRecipient {
		route, v, ok := e.resolve(e.s.Tx.Recipient)
		if !ok {
			return v
		}
		if !e.authorized(route) {
			return dunno
		}
	}
	e.logPermit(r.word, classClient, e.s.LogName, "")
	return permit
}
