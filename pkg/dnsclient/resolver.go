package dnsclient

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Resolver asks name servers. Make it with New, before a chroot.
type Resolver struct {
	o      Options
	conf   *source
	native *net.Resolver
}

// New returns a Resolver with the given options; it reads resolv.conf.
func New(o Options) *Resolver {
	if o.Warnf == nil {
		o.Warnf = func(string, ...any) {}
	}
	if o.Infof == nil {
		o.Infof = func(string, ...any) {}
	}
	r := &Resolver{o: o, conf: newSource(o)}
	r.native = r.nativeResolver()
	return r
}

// Lookup asks for records of one type. Aliases are followed. Names that are
// addresses or no host names are NotFound without a question.
func (r *Resolver) Lookup(ctx context.Context, name string, qtype uint16) Answer {
	name = strings.TrimSuffix(ToASCII(name), ".")
	if !queryable(name, qtype) {
		return Answer{Result: NotFound, RCode: dns.RcodeNameError,
			Text: fmt.Sprintf("Name service error for %s: invalid host or domain name", name)}
	}
	conf := r.conf.get()
	var answer Answer
	for i, full := range r.candidates(conf, name) {
		a := r.chase(ctx, conf, full, qtype)
		// The first name that exists ends the search; a failure of the plain
		// name must not hide the answer of a longer one, and the reverse.
		if i == 0 || a.Result == OK || !a.Result.Missing() {
			answer = a
		}
		if !a.Result.Missing() {
			break
		}
	}
	return answer
}

// queryable says whether a name can be asked for: a valid host name; "." and
// service names such as _25._tcp.example are valid, too.
func queryable(name string, qtype uint16) bool {
	if name == "" {
		return qtype == TypeNS || qtype == TypeSOA
	}
	return CheckHostname(strings.TrimPrefix(name, "*.")) == ""
}

// candidates lists the names to try (resolv.conf(5): search, ndots).
func (r *Resolver) candidates(conf settings, name string) []string {
	dots := strings.Count(name, ".")
	switch {
	case r.o.DNSSearch && len(conf.search) > 0:
		var list []string
		if dots >= conf.ndots {
			list = append(list, name)
		}
		for _, domain := range conf.search {
			list = append(list, name+"."+domain)
		}
		if dots < conf.ndots {
			list = append(list, name)
		}
		return list
	case r.o.DefNames && dots == 0 && len(conf.search) > 0:
		return []string{name + "." + conf.search[0]}
	}
	return []string{name}
}

// chase asks and follows aliases, at most MaxAliases steps.
func (r *Resolver) chase(ctx context.Context, conf settings, name string, qtype uint16) Answer {
	current, secure := name, true
	for range MaxAliases + 1 {
		reply, err := r.exchange(ctx, conf, current, qtype)
		if err != nil {
			return failure(name, qtype, Retry, 0, "Host not found, try again")
		}
		secure = secure && reply.AuthenticatedData && r.o.DNSSEC
		records, last, ok := r.pick(reply, current, qtype)
		if !ok {
			break
		}
		if len(records) > 0 {
			return r.finish(name, qtype, records, last, secure)
		}
		switch reply.Rcode {
		case dns.RcodeSuccess:
		case dns.RcodeNameError:
			return failure(name, qtype, NotFound, reply.Rcode, "Host not found")
		case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented:
			return failure(name, qtype, Retry, reply.Rcode, "Host not found, try again")
		default:
			return failure(name, qtype, Fail, reply.Rcode, "Non-recoverable error")
		}
		if EqualNames(last, current) {
			return failure(name, qtype, NoData, reply.Rcode, "Host found but no data record of requested type")
		}
		current = last
	}
	r.o.Warnf("dns_lookup: Name server loop for %s", name)
	return Answer{Result: NotFound, RCode: dns.RcodeNameError, Text: "Name server loop for " + name}
}

func failure(name string, qtype uint16, result Result, rcode int, why string) Answer {
	return Answer{Result: result, RCode: rcode,
		Text: fmt.Sprintf("Host or domain name not found. Name service error for name=%s type=%s: %s", name, TypeName(qtype), why)}
}

// pick takes the records of the wanted type that belong to the name or to the
// end of the alias chain in the reply; last is that end. ok is false when the
// chain is too long.
func (r *Resolver) pick(reply *dns.Msg, name string, qtype uint16) (records []Record, last string, ok bool) {
	last = name
	for range MaxAliases + 1 {
		var next string
		for _, rr := range reply.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !EqualNames(h.Name, last) {
				continue
			}
			if h.Rrtype == qtype {
				if len(records) == MaxRecords {
					r.o.Warnf("DNS record count limit (%d) exceeded -- dropping excess record(s) after qname=%s qtype=%s",
						MaxRecords, name, TypeName(qtype))
					return records, last, true
				}
				if rec, known := record(rr); known {
					records = append(records, rec)
				}
			} else if c, alias := rr.(*dns.CNAME); alias && next == "" {
				next = trimDot(c.Target)
			}
		}
		if len(records) > 0 || next == "" {
			return records, last, true
		}
		last = next
	}
	return nil, last, false
}

// finish checks names, nullMX and the reply filter.
func (r *Resolver) finish(name string, qtype uint16, records []Record, last string, secure bool) Answer {
	answer := Answer{Name: last, Secure: secure}
	kept := records[:0]
	for _, rec := range records {
		rec.Secure = secure
		switch qtype {
		case TypeMX, TypeSRV:
			if rec.Target == "" {
				if qtype == TypeMX {
					return Answer{Result: NullMX, Text: fmt.Sprintf("Domain %s does not accept mail (nullMX)", name)}
				}
				return Answer{Result: NullSRV, Text: fmt.Sprintf("Domain %s does not support SRV requests", name)}
			}
			if addr, numeric := parseAddr(rec.Target); numeric {
				r.o.Warnf("numeric domain name in resource data of %s record for %s: %s", TypeName(qtype), name, rec.Target)
				rec.Addr = addr
				kept = append(kept, rec)
				continue
			}
			fallthrough
		case TypePTR, TypeNS, TypeCNAME:
			if !ValidHostname(rec.Target) {
				r.o.Warnf("malformed domain name in resource data of %s record for %s: %s", TypeName(qtype), name, printable(rec.Target))
				continue
			}
		}
		kept = append(kept, rec)
	}
	if len(kept) == 0 {
		answer.Result = Invalid
		answer.Text = malformedText(name, qtype)
		return answer
	}
	answer.Records = kept
	if r.o.Filter != nil {
		return r.filter(name, qtype, answer)
	}
	return answer
}

func malformedText(name string, qtype uint16) string {
	return fmt.Sprintf("Name service error for name=%s type=%s: Malformed or unexpected name server reply", name, TypeName(qtype))
}

// filter applies the reply filter to each record.
func (r *Resolver) filter(name string, qtype uint16, a Answer) Answer {
	var kept []Record
	for _, rec := range a.Records {
		printed := rec.String()
		action, found, err := r.o.Filter(printed)
		if err == nil && !found {
			kept = append(kept, rec)
			continue
		}
		if err == nil && strings.EqualFold(action, "IGNORE") {
			r.o.Infof("ignoring DNS RR: %s", printed)
			continue
		}
		if err == nil {
			r.o.Warnf("%s: unknown DNS filter action: \"%s\"", r.o.FilterName, action)
		}
		return Answer{Result: Retry, Text: fmt.Sprintf("Error looking up name=%s type=%s: Invalid DNS reply filter syntax", name, TypeName(qtype))}
	}
	if len(kept) == 0 {
		return Answer{Result: Policy, Text: fmt.Sprintf("Error looking up name=%s type=%s: DNS reply filter drops all results", name, TypeName(qtype))}
	}
	a.Records = kept
	return a
}

// exchange asks the servers in turn until one gives a usable reply. A reply
// with a failure code is returned when no server has a better one.
func (r *Resolver) exchange(ctx context.Context, conf settings, name string, qtype uint16) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), qtype)
	if r.o.DNSSEC {
		query.SetEdns0(4096, true)
		query.AuthenticatedData = true
	}
	var worse *dns.Msg
	var lastErr error
	for range conf.attempts {
		for _, server := range conf.servers {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			reply, err := ask(ctx, query, server, conf.timeout)
			if err != nil {
				lastErr = err
				continue
			}
			switch reply.Rcode {
			case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented:
				worse = reply
				continue
			}
			return reply, nil
		}
		if worse != nil {
			return worse, nil
		}
	}
	if lastErr == nil {
		lastErr = fmt.Errorf("no name server")
	}
	return nil, lastErr
}

// ask puts one question to one server: over UDP, and over TCP where the reply
// is cut.
func ask(ctx context.Context, query *dns.Msg, server string, timeout time.Duration) (*dns.Msg, error) {
	reply, err := askOver(ctx, "udp", query, server, timeout)
	if err == nil && reply.Truncated {
		reply, err = askOver(ctx, "tcp", query, server, timeout)
		if err == nil && reply.Truncated {
			return nil, fmt.Errorf("%s: truncated reply", server)
		}
	}
	return reply, err
}

func askOver(ctx context.Context, network string, query *dns.Msg, server string, timeout time.Duration) (*dns.Msg, error) {
	client := dns.Client{Net: network, Timeout: timeout}
	question := query.Copy()
	question.Id = dns.Id()
	reply, _, err := client.ExchangeContext(ctx, question, server)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server, err)
	}
	if !reply.Response || len(reply.Question) != 1 || reply.Question[0].Qtype != question.Question[0].Qtype ||
		!EqualNames(reply.Question[0].Name, question.Question[0].Name) {
		return nil, fmt.Errorf("%s: reply to another question", server)
	}
	return reply, nil
}

// printable replaces what may not stand in a log line.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 32 || c >= 127 {
			return '?'
		}
		return c
	}, s)
}
