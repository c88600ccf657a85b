// Package smtpclient delivers mail over SMTP and LMTP: it finds the servers of
// a destination, talks to them, and decides what becomes of each recipient
// (spec smtp-client).
//
// An Engine serves any number of delivery requests at once, each in the
// goroutine that calls Deliver. Connections that may be used again wait in a
// cache that all requests of the process share.
package smtpclient

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"suffix/pkg/deliver"
	"suffix/pkg/dnsclient"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
)

// A Log takes the lines that the engine writes; *maillog.Logger is one.
type Log interface {
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
	Logf(level maillog.Level, format string, args ...any)
}

// A Matcher is a list such as smtp_connection_cache_destinations.
type Matcher interface {
	Match(name string) (bool, error)
}

// Extra headers and semantics of a transport (spec smtp-client §1.1).
type DeliveryFlags struct {
	DeliveredTo bool // D
	OriginalTo  bool // O
	ReturnPath  bool // R
	Final       bool // X: delivered, not relayed
}

// Config is everything that the engine reads from main.cf, with the names of
// the parameters: smtp_X or lmtp_X where they have a prefix.
type Config struct {
	LMTP    bool
	Prefix  string // "smtp" or "lmtp": how parameters are called
	Service string // name of the transport
	Flags   DeliveryFlags

	HostName   string // myhostname
	HeloName   string // smtp_helo_name, lmtp_lhlo_name
	TCPPort    string
	KnownPorts map[string]uint16

	FallbackRelay   []string
	RelayHost       string
	BestMXTransport string

	// Families: which address families are in use (inet_protocols).
	IPv4, IPv6 bool
	// Own and Proxy are the addresses on which this mail system receives mail.
	Own, Proxy []netip.Addr
	// SourceIPv4, SourceIPv6: addresses to connect from where inet_interfaces
	// leaves no choice; Bind*: where a parameter says so.
	SourceIPv4, SourceIPv6 netip.Addr
	BindIPv4, BindIPv6     netip.Addr
	BindEnforce            bool
	WindowSize             int // tcp_windowsize

	DNS                *dnsclient.Resolver // nil: disabled
	System             *dnsclient.Resolver // for lookups through the system
	DNSSEC             bool
	NativeLookup       bool
	AddressPreference  string // any, ipv4, ipv6
	BalanceProtocols   bool
	RandomizeAddresses bool
	AddressLimit       int
	SessionLimit       int
	CnameOverrides     bool
	DeferIfNoMX        bool
	IgnoreMXError      bool
	UseSRV             Matcher
	IgnoreSRVError     bool
	SRVFallback        bool

	ConnectTimeout, HeloTimeout, XForwardTimeout, MailTimeout, RcptTimeout,
	DataInitTimeout, DataXferTimeout, DataDoneTimeout, RsetTimeout, QuitTimeout time.Duration
	PerRequestDeadline bool
	MinDataRate        int

	LineLimit                                                int // smtp_line_length_limit
	ReplyLimit                                               int // line_length_limit
	QuoteEnvelope                                            bool
	SendXForward                                             bool
	Skip5xxGreeting, SkipQuitResponse, AlwaysEHLO, NeverEHLO bool
	DiscardKeywords                                          string
	DiscardKeywordMaps                                       *maps.Maps
	PIXWorkarounds                                           string
	PIXWorkaroundMaps                                        *maps.Maps
	PIXDelay, PIXThreshold                                   time.Duration
	ReplyFilter                                              *maps.Maps
	VerifyData                                               bool // smtp_address_verify_target = data

	Generic                                                        *maps.Maps
	GenericSearch                                                  maps.Search
	GenericPropagate                                               bool
	AppendOrigin                                                   string // domain for mapping results without one; empty: none
	HeaderChecks, MIMEHeaderChecks, NestedHeaderChecks, BodyChecks *maps.Maps
	BodyChecksLimit                                                int64
	DisableConversion                                              bool // disable_mime_output_conversion
	MIMENestingLimit                                               int
	HeaderSizeLimit                                                int
	AddressTokenLimit                                              int
	BoundaryLimit                                                  int

	CacheDestinations Matcher
	CacheOnDemand     bool
	CacheTimeLimit    time.Duration
	ReuseTimeLimit    time.Duration
	ReuseCountLimit   int

	RequireTLSEnable bool
	RequireTLSPolicy []PolicyItem
	// TLSLevel is none or may: what else would be asked for is in Refusal.
	TLSLevel string
	LogTLS   bool
	Wrapper  bool

	NoteStartTLS bool // smtp_tls_note_starttls_offer

	// DebugPeers matches hosts, addresses and next hops whose dialogue is
	// logged; nil: none.
	DebugPeers interface {
		MatchHost(name, addr string) (bool, error)
	}

	SMTPUTF8, SoftBounce, HelpfulWarnings, Dialect37 bool
	NotifyProtocol, NotifyData                       bool
	// Notify posts the transcript of a session to the postmaster; nil: nobody
	// wants it.
	Notify func(subject string, body []string) error

	// Refusal, if not empty, says why no mail may be sent with this
	// configuration: status and text.
	RefusalStatus, Refusal string

	// Pass hands a recipient to another transport (best_mx_transport).
	Pass func(ctx context.Context, req *deliver.Request, transport, nexthop string, rcpt dsn.Recipient)

	// Tables lists every open table, to notice changes.
	Tables []*maps.Maps

	Log Log
}

// A PolicyItem is an element of smtp_requiretls_policy: a table, or an action.
type PolicyItem struct {
	Table  *maps.Maps
	Action string
}

// Changed names a lookup table that has changed.
func (c *Config) Changed() (table string, changed bool) {
	for _, m := range c.Tables {
		if name, changed := m.Changed(); changed {
			return name, true
		}
	}
	return "", false
}

// isSelf says whether mail to an address comes back to this mail system.
func (c *Config) isSelf(a netip.Addr) bool {
	for _, own := range c.Own {
		if own == a {
			return true
		}
	}
	for _, proxy := range c.Proxy {
		if proxy == a {
			return true
		}
	}
	return false
}

// protocolName is SMTP or LMTP.
func (c *Config) protocolName() string { return strings.ToUpper(c.Prefix) }
