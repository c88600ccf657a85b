// Package dnsclient looks things up in the DNS and in the system's host
// database, with the limits, the result classes and the error texts that
// Postfix programs show (spec smtp-client §3.1, hardening §3.2).
//
// A Resolver asks the servers of /etc/resolv.conf. It keeps no cache: that is
// the task of the name server. All methods are safe for concurrent use.
package dnsclient

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Record types that this package understands (RFC 1035, 2782, 3596, 6698).
const (
	TypeA     = dns.TypeA
	TypeAAAA  = dns.TypeAAAA
	TypeMX    = dns.TypeMX
	TypePTR   = dns.TypePTR
	TypeTXT   = dns.TypeTXT
	TypeSRV   = dns.TypeSRV
	TypeNS    = dns.TypeNS
	TypeSOA   = dns.TypeSOA
	TypeCNAME = dns.TypeCNAME
	TypeTLSA  = dns.TypeTLSA
)

// Limits on one lookup (spec hardening §3.2).
const (
	MaxAliases = 10  // CNAME steps
	MaxRecords = 100 // records kept of one answer
)

// Result is the class of the outcome of a lookup.
type Result int

const (
	OK       Result = iota // there are records
	NotFound               // no such name (NXDOMAIN), an invalid name, or an alias loop
	NoData                 // the name exists, the type does not; Postfix treats it as NotFound
	Retry                  // no usable answer now: try again later
	Fail                   // permanent error of another kind
	Invalid                // all records have malformed names
	NullMX                 // the domain says that it takes no mail (RFC 7505)
	NullSRV                // the domain says that it does not offer the service (RFC 2782)
	Policy                 // the reply filter dropped every record
)

var resultNames = [...]string{"ok", "notfound", "nodata", "retry", "fail", "invalid", "nullmx", "nullsrv", "policy"}

// String returns a word for the class, for debugging.
func (r Result) String() string {
	if r < 0 || int(r) >= len(resultNames) {
		return fmt.Sprintf("result %d", int(r))
	}
	return resultNames[r]
}

// Missing says that there is no such name or no such record: the two classes
// that callers mostly treat alike.
func (r Result) Missing() bool { return r == NotFound || r == NoData }

// A Record is one resource record of an answer. Names are without final dot,
// in the form in which the server sent them.
type Record struct {
	Name   string     // owner, after aliases
	Type   uint16     // TypeA …
	TTL    uint32     // seconds
	Pref   uint16     // MX preference, SRV priority
	Weight uint16     // SRV
	Port   uint16     // SRV
	Target string     // MX, SRV, PTR, NS, CNAME: a host; SOA: the primary server
	Addr   netip.Addr // A, AAAA; also MX and SRV whose target is a numeric address
	Text   string     // TXT: the strings joined; SOA: the other fields
	Data   []byte     // TLSA: usage, selector, matching type, digest
	Secure bool       // the server validated the answer and every alias step (AD)
}

// An Answer is the outcome of a lookup. Text is Postfix's sentence for every
// result but OK. RCode is the server's response code, 0 where none came.
type Answer struct {
	Result  Result
	Text    string
	RCode   int
	Records []Record
	Name    string // the name that has the records, after aliases
	Secure  bool   // validated, as Record.Secure
}

// Err returns nil for OK, else an error with the text.
func (a Answer) Err() error {
	if a.Result == OK {
		return nil
	}
	return &LookupError{Result: a.Result, Text: a.Text}
}

// LookupError is a lookup that brought no records.
type LookupError struct {
	Result Result
	Text   string
}

func (e *LookupError) Error() string { return e.Text }

// Options of a Resolver. The zero value means the system's settings.
type Options struct {
	// Servers, "address:port", replace those of resolv.conf.
	Servers []string
	// ResolvConf is a file in the format of resolv.conf(5); empty means the
	// environment's SUFFIX_RESOLV_CONF, else /etc/resolv.conf. In it a server
	// may be written "[address]:port".
	ResolvConf string
	// DefNames appends the local domain to names without a dot, DNSSearch
	// walks the search list (smtp_dns_resolver_options: res_defnames,
	// res_dnsrch).
	DefNames, DNSSearch bool
	// DNSSEC asks for validation (EDNS0 DO and AD bits).
	DNSSEC bool
	// Filter is called with each record in printed form (String). found false
	// keeps the record, action IGNORE drops it; anything else, or an error, is
	// a configuration error: the lookup fails with Retry. FilterName is the
	// parameter's name for the warning.
	Filter     func(record string) (action string, found bool, err error)
	FilterName string
	// Warnf and Infof log what Postfix logs; nil drops it.
	Warnf, Infof func(format string, args ...any)
}

// ParseResolverOptions reads smtp_dns_resolver_options: a list of
// res_defnames and res_dnsrch.
func ParseResolverOptions(words []string) (defNames, dnsSearch bool, err error) {
	for _, w := range words {
		switch strings.ToLower(w) {
		case "res_defnames":
			defNames = true
		case "res_dnsrch":
			dnsSearch = true
		default:
			return false, false, fmt.Errorf("unknown name value %q", w)
		}
	}
	return defNames, dnsSearch, nil
}

// LookupAddrs looks up the addresses of a host in the given types, at the same
// time, and merges what it finds in their order. Any data means OK; else the
// first result that is not NotFound or NoData counts, else the last one.
func (r *Resolver) LookupAddrs(ctx context.Context, name string, types ...uint16) Answer {
	answers := make([]Answer, len(types))
	var wg sync.WaitGroup
	for i, t := range types[min(1, len(types)):] {
		wg.Go(func() {
			// A panic here would end the whole process, not one session.
			defer func() {
				if p := recover(); p != nil {
					r.o.Warnf("panic: lookup of %s type %s: %v", name, TypeName(t), p)
					answers[i+1] = failure(name, t, Retry, 0, "Host not found, try again")
				}
			}()
			answers[i+1] = r.Lookup(ctx, name, t)
		})
	}
	if len(types) > 0 {
		answers[0] = r.Lookup(ctx, name, types[0])
	}
	wg.Wait()
	merged := Answer{Secure: true}
	failed := Answer{Result: NotFound}
	for _, a := range answers {
		if a.Result == OK {
			merged.Records = append(merged.Records, a.Records...)
			merged.Name = a.Name
			merged.Secure = merged.Secure && a.Secure
		} else if failed.Result.Missing() {
			failed = a
		}
	}
	if len(merged.Records) > 0 {
		return merged
	}
	return failed
}

// ReverseName returns the name under which the PTR records of an address are.
func ReverseName(addr netip.Addr) string {
	name, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(name, ".")
}

// TypeName returns the name of a record type: "MX".
func TypeName(t uint16) string {
	if s, ok := dns.TypeToString[t]; ok {
		return s
	}
	return fmt.Sprintf("TYPE%d", t)
}
