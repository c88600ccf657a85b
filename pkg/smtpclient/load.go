package smtpclient

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/deliver"
	"suffix/pkg/dnsclient"
	"suffix/pkg/dsn"
	"suffix/pkg/localdomain"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
	"suffix/pkg/matchlist"
	"suffix/pkg/outcome"
	"suffix/pkg/params"
	"suffix/pkg/record"
	"suffix/pkg/table"
)

// A loader reads parameters that exist once for SMTP and once for LMTP.
type loader struct {
	m    *config.Main
	lmtp bool
	c    *Config
}

func (l loader) str(smtp, lmtp params.String) string {
	if l.lmtp {
		return l.m.String(lmtp)
	}
	return l.m.String(smtp)
}

func (l loader) bool(smtp, lmtp params.Bool) bool {
	if l.lmtp {
		return l.m.Bool(lmtp)
	}
	return l.m.Bool(smtp)
}

func (l loader) int(smtp, lmtp params.Int) int {
	if l.lmtp {
		return l.m.Int(lmtp)
	}
	return l.m.Int(smtp)
}

func (l loader) time(smtp, lmtp params.Time) time.Duration {
	if l.lmtp {
		return l.m.Time(lmtp)
	}
	return l.m.Time(smtp)
}

// maps opens the tables of a parameter; nil where there are none.
func (l loader) maps(name string, flags table.Flags, smtp, lmtp params.String) *maps.Maps {
	value := l.str(smtp, lmtp)
	if strings.TrimSpace(value) == "" {
		return nil
	}
	m := maps.Open(l.c.Prefix+name, value, table.Options{Config: l.m, Flags: flags})
	l.c.Tables = append(l.c.Tables, m)
	return m
}

// ParseFlags reads the attributes of a master.cf entry: flags=DORX
// (spec smtp-client §1.1). The error has Postfix's fatal text.
func ParseFlags(args []string) (f DeliveryFlags, err error) {
	for _, arg := range args {
		value, ok := cutPrefixFold(arg, "flags=")
		if !ok {
			return f, fmt.Errorf("unknown attribute name: %s", arg)
		}
		f = DeliveryFlags{}
		for _, c := range value {
			switch c {
			case 'D':
				f.DeliveredTo = true
			case 'O':
				f.OriginalTo = true
			case 'R':
				f.ReturnPath = true
			case 'X':
				f.Final = true
			default:
				return f, fmt.Errorf("unknown flags=%s value \"%c\" in \"%s\"", value, c, value)
			}
		}
	}
	return f, nil
}

// Load reads the configuration of a program, "smtp" or "lmtp", that runs as
// the given service. The error has the text that Postfix dies with.
func Load(m *config.Main, program, service string, args []string) (*Config, error) {
	flags, err := ParseFlags(args)
	if err != nil {
		return nil, err
	}
	c := &Config{LMTP: program == "lmtp", Prefix: program, Service: service, Flags: flags, Log: maillog.Default()}
	l := loader{m: m, lmtp: c.LMTP, c: c}
	if c.LMTP && m.Bool(params.LmtpAssumeFinal) {
		c.Log.Warnf("lmtp_assume_final is obsolete; instead, specify \"<flags=..>X\" in master.cf")
		c.Flags.Final = true
	}
	c.HostName = m.String(params.Myhostname)
	c.HeloName = l.str(params.SmtpHeloName, params.LmtpLhloName)
	c.TCPPort = l.str(params.SmtpTcpPort, params.LmtpTcpPort)
	c.KnownPorts = m.KnownTCPPorts()
	c.FallbackRelay = splitDestinations(l.str(params.SmtpFallbackRelay, params.LmtpFallbackRelay))
	c.RelayHost = m.String(params.Relayhost)
	c.BestMXTransport = m.String(params.BestMxTransport)
	l.protocol()
	l.session()
	l.content()
	l.tls()
	if err := l.network(); err != nil {
		return nil, err
	}
	if err := l.dns(); err != nil {
		return nil, err
	}
	if err := l.refusals(); err != nil {
		return nil, err
	}
	l.notices()
	timeout, dialect37 := m.Time(params.IpcTimeout), c.Dialect37
	c.Pass = func(ctx context.Context, req *deliver.Request, transport, nexthop string, rcpt dsn.Recipient) {
		req.Pass(ctx, transport, nexthop, rcpt, timeout, dialect37)
	}
	return c, m.Err()
}

// NewRecorder makes the recorder of outcomes for the program.
func NewRecorder(m *config.Main, c *Config) *outcome.Recorder {
	l := loader{m: m, lmtp: c.LMTP, c: c}
	filter := l.maps("_delivery_status_filter", 0, params.SmtpDeliveryStatusFilter, params.LmtpDeliveryStatusFilter)
	return outcome.New(m, c.Prefix+"_delivery_status_filter", filter)
}

func (l loader) protocol() {
	m, c := l.m, l.c
	c.Dialect37 = m.Dialect37()
	c.SMTPUTF8 = m.Bool(params.Smtputf8Enable)
	c.SoftBounce = m.Bool(params.SoftBounce)
	c.HelpfulWarnings = m.Bool(params.HelpfulWarnings)
	c.ReplyLimit = m.Int(params.LineLengthLimit)
	c.LineLimit = l.int(params.SmtpLineLengthLimit, params.LmtpLineLengthLimit)
	c.QuoteEnvelope = l.bool(params.SmtpQuoteRfc821Envelope, params.LmtpQuoteRfc821Envelope)
	c.SendXForward = l.bool(params.SmtpSendXforwardCommand, params.LmtpSendXforwardCommand)
	c.Skip5xxGreeting = l.bool(params.SmtpSkip5xxGreeting, params.LmtpSkip5xxGreeting)
	c.SkipQuitResponse = l.bool(params.SmtpSkipQuitResponse, params.LmtpSkipQuitResponse)
	c.AlwaysEHLO = m.Bool(params.SmtpAlwaysSendEhlo)
	c.NeverEHLO = m.Bool(params.SmtpNeverSendEhlo)
	c.DiscardKeywords = l.str(params.SmtpDiscardEhloKeywords, params.LmtpDiscardLhloKeywords)
	suffix := "_discard_ehlo_keyword_address_maps"
	if c.LMTP {
		suffix = "_discard_lhlo_keyword_address_maps"
	}
	c.DiscardKeywordMaps = l.maps(suffix, 0, params.SmtpDiscardEhloKeywordAddressMaps, params.LmtpDiscardLhloKeywordAddressMaps)
	c.PIXWorkarounds = l.str(params.SmtpPixWorkarounds, params.LmtpPixWorkarounds)
	c.PIXWorkaroundMaps = l.maps("_pix_workaround_maps", 0, params.SmtpPixWorkaroundMaps, params.LmtpPixWorkaroundMaps)
	c.PIXDelay = l.time(params.SmtpPixWorkaroundDelayTime, params.LmtpPixWorkaroundDelayTime)
	c.PIXThreshold = l.time(params.SmtpPixWorkaroundThresholdTime, params.LmtpPixWorkaroundThresholdTime)
	c.ReplyFilter = l.maps("_reply_filter", 0, params.SmtpReplyFilter, params.LmtpReplyFilter)
	if value := m.String(params.DebugPeerList); value != "" && m.Int(params.DebugPeerLevel) > 0 {
		c.DebugPeers = matchlist.New("debug_peer_list", value, matchlist.Host, matchlist.Options{Config: m})
	}
	c.VerifyData = l.str(params.SmtpAddressVerifyTarget, params.LmtpAddressVerifyTarget) == "data"
}

func (l loader) session() {
	m, c := l.m, l.c
	c.ConnectTimeout = l.time(params.SmtpConnectTimeout, params.LmtpConnectTimeout)
	c.HeloTimeout = l.time(params.SmtpHeloTimeout, params.LmtpLhloTimeout)
	c.XForwardTimeout = l.time(params.SmtpXforwardTimeout, params.LmtpXforwardTimeout)
	c.MailTimeout = l.time(params.SmtpMailTimeout, params.LmtpMailTimeout)
	c.RcptTimeout = l.time(params.SmtpRcptTimeout, params.LmtpRcptTimeout)
	c.DataInitTimeout = l.time(params.SmtpDataInitTimeout, params.LmtpDataInitTimeout)
	c.DataXferTimeout = l.time(params.SmtpDataXferTimeout, params.LmtpDataXferTimeout)
	c.DataDoneTimeout = l.time(params.SmtpDataDoneTimeout, params.LmtpDataDoneTimeout)
	c.RsetTimeout = l.time(params.SmtpRsetTimeout, params.LmtpRsetTimeout)
	c.QuitTimeout = l.time(params.SmtpQuitTimeout, params.LmtpQuitTimeout)
	c.PerRequestDeadline = l.bool(params.SmtpPerRequestDeadline, params.LmtpPerRequestDeadline)
	c.MinDataRate = l.int(params.SmtpMinDataRate, params.LmtpMinDataRate)
	c.AddressLimit = l.int(params.SmtpMxAddressLimit, params.LmtpMxAddressLimit)
	c.SessionLimit = l.int(params.SmtpMxSessionLimit, params.LmtpMxSessionLimit)
	if value := l.str(params.SmtpConnectionCacheDestinations, params.LmtpConnectionCacheDestinations); value != "" {
		c.CacheDestinations = matchlist.New(c.Prefix+"_connection_cache_destinations", value, matchlist.Domain, matchlist.Options{Config: m})
	}
	c.CacheOnDemand = l.bool(params.SmtpConnectionCacheOnDemand, params.LmtpConnectionCacheOnDemand)
	c.CacheTimeLimit = l.time(params.SmtpConnectionCacheTimeLimit, params.LmtpConnectionCacheTimeLimit)
	// The connection cache of other releases has a limit of its own.
	c.CacheTimeLimit = min(c.CacheTimeLimit, m.Time(params.ConnectionCacheTtlLimit))
	c.ReuseTimeLimit = l.time(params.SmtpConnectionReuseTimeLimit, params.LmtpConnectionReuseTimeLimit)
	c.ReuseCountLimit = l.int(params.SmtpConnectionReuseCountLimit, params.LmtpConnectionReuseCountLimit)
	c.WindowSize = m.Int(params.TcpWindowsize)
}

func (l loader) content() {
	m, c := l.m, l.c
	c.Generic = l.maps("_generic_maps", table.FoldFix|table.UTF8Request, params.SmtpGenericMaps, params.LmtpGenericMaps)
	c.HeaderChecks = l.maps("_header_checks", 0, params.SmtpHeaderChecks, params.LmtpHeaderChecks)
	c.MIMEHeaderChecks = l.maps("_mime_header_checks", 0, params.SmtpMimeHeaderChecks, params.LmtpMimeHeaderChecks)
	c.NestedHeaderChecks = l.maps("_nested_header_checks", 0, params.SmtpNestedHeaderChecks, params.LmtpNestedHeaderChecks)
	c.BodyChecks = l.maps("_body_checks", 0, params.SmtpBodyChecks, params.LmtpBodyChecks)
	c.BodyChecksLimit = int64(m.Int(params.BodyChecksSizeLimit))
	c.DisableConversion = m.Bool(params.DisableMimeOutputConversion)
	c.MIMENestingLimit = m.Int(params.MimeNestingLimit)
	c.HeaderSizeLimit = m.Int(params.HeaderSizeLimit)
	c.AddressTokenLimit = m.Int(params.HeaderAddressTokenLimit)
	c.BoundaryLimit = m.Int(params.MimeBoundaryLengthLimit)
	if c.Generic.Empty() {
		return
	}
	local, origin := localdomain.New(m), m.String(params.Myorigin)
	c.GenericSearch = maps.Search{Extension: maps.ExtensionFrom(m), IsLocal: func(domain string) (bool, error) {
		if strings.EqualFold(domain, origin) {
			return true, nil
		}
		return local.Contains(domain)
	}}
	for _, word := range m.List(params.PropagateUnmatchedExtensions) {
		c.GenericPropagate = c.GenericPropagate || word == "generic"
	}
	if m.Bool(params.AppendAtMyorigin) {
		c.AppendOrigin = origin
	}
}

// network reads which addresses are ours and which may be used.
func (l loader) network() error {
	m, c := l.m, l.c
	families := m.Protocols()
	c.IPv4, c.IPv6 = families.IPv4, families.IPv6
	var err error
	if c.Own, err = m.OwnAddresses(); err != nil {
		return err
	}
	if c.Proxy, err = m.ProxyAddresses(); err != nil {
		return err
	}
	c.AddressPreference = l.str(params.SmtpAddressPreference, params.LmtpAddressPreference)
	c.BalanceProtocols = l.bool(params.SmtpBalanceInetProtocols, params.LmtpBalanceInetProtocols)
	c.RandomizeAddresses = l.bool(params.SmtpRandomizeAddresses, params.LmtpRandomizeAddresses)
	c.BindEnforce = l.bool(params.SmtpBindAddressEnforce, params.LmtpBindAddressEnforce)
	for _, b := range []struct {
		to         *netip.Addr
		name, text string
		v4         bool
	}{
		{&c.BindIPv4, "_bind_address", l.str(params.SmtpBindAddress, params.LmtpBindAddress), true},
		{&c.BindIPv6, "_bind_address6", l.str(params.SmtpBindAddress6, params.LmtpBindAddress6), false},
	} {
		text := b.text
		if text == "" {
			continue
		}
		if inside, ok := strings.CutPrefix(text, "["); ok {
			if text, ok = strings.CutSuffix(inside, "]"); !ok {
				return fmt.Errorf("smtp_connect_addr: malformed %s parameter: %s", c.Prefix+b.name, b.text)
			}
		}
		a, err := netip.ParseAddr(text)
		if err != nil || a.Is4() != b.v4 {
			return fmt.Errorf("smtp_connect_addr: bad %s parameter: %s: Name or service not known", c.Prefix+b.name, b.text)
		}
		*b.to = a
	}
	if m.String(params.InetInterfaces) != "all" {
		c.SourceIPv4 = onlyAddress(c.Own, netip.Addr.Is4)
		c.SourceIPv6 = onlyAddress(c.Own, netip.Addr.Is6)
	}
	return nil
}

// onlyAddress returns the one address of a family, if that is not loopback.
func onlyAddress(list []netip.Addr, family func(netip.Addr) bool) (only netip.Addr) {
	for _, a := range list {
		if !family(a) {
			continue
		}
		if only.IsValid() {
			return netip.Addr{}
		}
		only = a
	}
	if only.IsLoopback() {
		return netip.Addr{}
	}
	return only
}

func (l loader) dns() error {
	m, c := l.m, l.c
	level := l.str(params.SmtpDnsSupportLevel, params.LmtpDnsSupportLevel)
	if level == "" {
		level = "enabled"
		if m.Bool(params.DisableDnsLookups) {
			level = "disabled"
		}
	}
	o := dnsclient.Options{Warnf: c.Log.Warnf, Infof: c.Log.Infof}
	switch level {
	case "disabled", "enabled":
	case "dnssec":
		o.DNSSEC = true
	default:
		return fmt.Errorf("invalid %s_dns_support_level: \"%s\"", c.Prefix, level)
	}
	dns := false
	for _, word := range splitDestinations(l.str(params.SmtpHostLookup, params.LmtpHostLookup)) {
		switch strings.ToLower(word) {
		case "dns":
			dns = true
		case "native":
			c.NativeLookup = true
		default:
			return fmt.Errorf("bad string option: \"%s_host_lookup\" unknown name \"%s\"", c.Prefix, word)
		}
	}
	words := splitDestinations(l.str(params.SmtpDnsResolverOptions, params.LmtpDnsResolverOptions))
	var err error
	if o.DefNames, o.DNSSearch, err = dnsclient.ParseResolverOptions(words); err != nil {
		return fmt.Errorf("%s_dns_resolver_options: %w", c.Prefix, err)
	}
	if filter := l.maps("_dns_reply_filter", 0, params.SmtpDnsReplyFilter, params.LmtpDnsReplyFilter); filter != nil {
		o.Filter, o.FilterName = filter.Find, c.Prefix+"_dns_reply_filter"
	}
	c.System = dnsclient.New(o)
	c.DNSSEC = o.DNSSEC
	if level != "disabled" && dns {
		c.DNS = c.System
	}
	if level == "disabled" {
		c.NativeLookup = true
	}
	c.CnameOverrides = l.bool(params.SmtpCnameOverridesServername, params.LmtpCnameOverridesServername)
	c.DeferIfNoMX = l.bool(params.SmtpDeferIfNoMxAddressFound, params.LmtpDeferIfNoMxAddressFound)
	c.IgnoreMXError = m.Bool(params.IgnoreMxLookupError)
	if value := m.String(params.UseSrvLookup); value != "" {
		c.UseSRV = matchlist.New("use_srv_lookup", value, matchlist.String, matchlist.Options{Config: m})
	}
	c.IgnoreSRVError = m.Bool(params.IgnoreSrvLookupError)
	c.SRVFallback = m.Bool(params.AllowSrvLookupFallback)
	return nil
}

// notices reads what the postmaster wants to see.
func (l loader) notices() {
	m, c := l.m, l.c
	for _, class := range m.List(params.NotifyClasses) {
		switch strings.ToLower(class) {
		case "protocol":
			c.NotifyProtocol = true
		case "data":
			c.NotifyData = true
		}
	}
	if !c.NotifyProtocol && !c.NotifyData {
		return
	}
	recipient := m.String(params.ErrorNoticeRecipient)
	from := "From: Mail Delivery System <mailer-daemon>"
	if m.String(params.HeaderFromFormat) == "obsolete" {
		from = "From: mailer-daemon (Mail Delivery System)"
	}
	c.Notify = func(subject string, body []string) error {
		sender := m.String(params.DoubleBounceSender) + "@" + m.String(params.Myorigin)
		s, err := cleanupclient.PostMail(context.Background(), m, cleanupclient.Mail{
			Sender: sender, Recipient: recipient, Class: cleanupclient.ClassNotify})
		if err != nil {
			return err
		}
		defer s.Abort()
		for _, line := range append([]string{from, "To: Postmaster <" + recipient + ">", "Subject: " + subject, ""}, body...) {
			s.Put(record.Text, line)
		}
		status, reason, err := cleanupclient.EndMail(s)
		switch {
		case err != nil:
			return err
		case status != 0 && reason == "":
			return fmt.Errorf("%s", status.Detail().Text)
		case status != 0:
			return fmt.Errorf("%s", reason)
		}
		return nil
	}
}
