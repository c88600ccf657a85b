package smtpserver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/maps"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
	"suffix/pkg/smtpaccess"
	"suffix/pkg/table"
)

// Settings are the parameters of a server. They do not change while it runs;
// a server under stress uses a second set.
type Settings struct {
	cfg        *config.Main
	dialect37  bool
	standalone bool
	style      smtpaccess.LogStyle

	hostname, mailName, banner string
	service                    string // name in master.cf
	stress                     string
	protocols                  config.Protocols
	cleanup, contentFilter     string // service name, default filter

	softErrorLimit, hardErrorLimit, junkLimit int
	errorSleep, timeout                       time.Duration
	perRequest                                bool
	minDataRate, lineLimit                    int
	messageLimit, minFree                     int64
	recipientLimit, overshootLimit            int
	historyThreshold                          int

	delayReject, delayOpen, heloRequired bool
	disableVRFY, strictEnvelope          bool
	smtputf8, strictUTF8, oldUTF8        bool
	softBounce, peernameLookup           bool
	portLogging, forbidPipelining        bool
	hideClient, authHeader               bool

	newline           newlineMode
	newlineCode       int
	newlineExclusions *matchlist.List

	notify      smtpaccess.ErrorClass
	keepHistory bool

	noopCommands, forbiddenCommands *matchlist.List
	commandFilter                   *table.Handle
	discardWords                    string
	discardMaps                     *maps.Maps
	rejectFilter, footerMaps        *maps.Maps
	footer, expansionFilter         string

	xclientHosts, xforwardHosts, verpClients, eventExceptions *matchlist.List
	verpDelimiters, verpFilter                                string

	limits limits

	cleanupFlags   cleanupclient.Flags
	rewriteClients []rewriteRule
	myNetworks     *matchlist.List

	verifySender, doubleBounce, origin  string
	verifyTTL                           time.Duration
	noticeSender, errorNotice, bounceTo string
	fromFormat                          string
	postdrop                            string

	lists  []*matchlist.List
	mapses []*maps.Maps
	tables []*table.Handle
}

// limits are the counts that anvil keeps (spec smtpd §19). Zero: no limit.
type limits struct {
	connections, connectionRate, messageRate, recipientRate, newTLS, auth int
	ipv4Bits, ipv6Bits                                                    int
}

func (l *limits) any() bool {
	return l.connections != 0 || l.connectionRate != 0 || l.messageRate != 0 || l.recipientRate != 0 || l.newTLS != 0 || l.auth != 0
}

// NewSettings reads the parameters of the service named in master.cf. The error
// is a fatal one. What this server cannot do yet is refused here.
func NewSettings(cfg *config.Main, service string, standalone bool, log smtpaccess.Logger) (*Settings, error) {
	s := &Settings{
		cfg: cfg, dialect37: cfg.Dialect37(), standalone: standalone, service: service,
		style:         smtpaccess.LogStyle{Internal: cfg.String(params.InfoLogAddressFormat) == "internal", NoSASL: cfg.Dialect37()},
		hostname:      cfg.String(params.Myhostname),
		mailName:      cfg.String(params.MailName),
		banner:        cfg.String(params.SmtpdBanner),
		cleanup:       cfg.String(params.CleanupServiceName),
		contentFilter: cfg.String(params.ContentFilter),

		softErrorLimit:   cfg.Int(params.SmtpdSoftErrorLimit),
		hardErrorLimit:   cfg.Int(params.SmtpdHardErrorLimit),
		junkLimit:        cfg.Int(params.SmtpdJunkCommandLimit),
		errorSleep:       cfg.Time(params.SmtpdErrorSleepTime),
		timeout:          cfg.Time(params.SmtpdTimeout),
		perRequest:       cfg.Bool(params.SmtpdPerRequestDeadline),
		minDataRate:      cfg.Int(params.SmtpdMinDataRate),
		lineLimit:        cfg.Int(params.LineLengthLimit),
		messageLimit:     cfg.Long(params.MessageSizeLimit),
		minFree:          cfg.Long(params.QueueMinfree),
		recipientLimit:   cfg.Int(params.SmtpdRecipientLimit),
		overshootLimit:   cfg.Int(params.SmtpdRecipientOvershootLimit),
		historyThreshold: cfg.Int(params.SmtpdHistoryFlushThreshold),

		delayReject:      cfg.Bool(params.SmtpdDelayReject),
		delayOpen:        cfg.Bool(params.SmtpdDelayOpenUntilValidRcpt),
		heloRequired:     cfg.Bool(params.SmtpdHeloRequired),
		disableVRFY:      cfg.Bool(params.DisableVrfyCommand),
		strictEnvelope:   cfg.Bool(params.StrictRfc821Envelopes),
		smtputf8:         cfg.Bool(params.Smtputf8Enable),
		strictUTF8:       cfg.Bool(params.StrictSmtputf8),
		oldUTF8:          cfg.CompatLevelBelow("1") && !cfg.Explicit(params.Of(params.Smtputf8Enable).Name),
		softBounce:       cfg.Bool(params.SoftBounce),
		peernameLookup:   cfg.Bool(params.SmtpdPeernameLookup),
		portLogging:      cfg.Bool(params.SmtpdClientPortLogging),
		forbidPipelining: cfg.Bool(params.SmtpdForbidUnauthPipelining),
		hideClient:       cfg.Bool(params.SmtpdHideClientSession),

		authHeader: cfg.Bool(params.SmtpdSaslAuthenticatedHeader),

		newlineCode:     cfg.Int(params.SmtpdForbidBareNewlineRejectCode),
		discardWords:    cfg.String(params.SmtpdDiscardEhloKeywords),
		footer:          cfg.Raw(params.SmtpdRejectFooter),
		expansionFilter: smtpaccess.Unescape(cfg.Raw(params.SmtpdExpansionFilter)),
		verpDelimiters:  cfg.String(params.DefaultVerpDelimiters),
		verpFilter:      cfg.String(params.VerpDelimiterFilter),
		limits: limits{
			connections:    cfg.Int(params.SmtpdClientConnectionCountLimit),
			connectionRate: cfg.Int(params.SmtpdClientConnectionRateLimit),
			messageRate:    cfg.Int(params.SmtpdClientMessageRateLimit),
			recipientRate:  cfg.Int(params.SmtpdClientRecipientRateLimit),
			newTLS:         cfg.Int(params.SmtpdClientNewTlsSessionRateLimit),
			auth:           cfg.Int(params.SmtpdClientAuthRateLimit),
			ipv4Bits:       cfg.Int(params.SmtpdClientIpv4PrefixLength),
			ipv6Bits:       cfg.Int(params.SmtpdClientIpv6PrefixLength),
		},
		verifySender: cfg.String(params.AddressVerifySender),
		verifyTTL:    cfg.Time(params.AddressVerifySenderTtl),
		origin:       cfg.String(params.Myorigin),
		doubleBounce: cfg.String(params.DoubleBounceSender),
		errorNotice:  cfg.String(params.ErrorNoticeRecipient),
		bounceTo:     cfg.String(params.BounceNoticeRecipient),
		fromFormat:   cfg.String(params.HeaderFromFormat),
		postdrop:     cfg.String(params.CommandDirectory) + "/postdrop",
	}
	s.noticeSender = s.doubleBounce
	if !strings.Contains(s.noticeSender, "@") {
		s.noticeSender += "@" + s.hostname
	}
	s.protocols = cfg.Protocols()
	s.stress = cfg.String(params.Stress)
	if s.dialect37 {
		s.limits.ipv4Bits, s.limits.ipv6Bits = 32, 128
	}
	var err error
	if s.newline, err = parseNewlineMode(cfg.String(params.SmtpdForbidBareNewline)); err != nil {
		return nil, err
	}
	s.openTables()
	s.readNotifyClasses(log)
	s.readOverrides()
	s.readRewriteRules(log)
	if !standalone {
		if err := s.refuseUnsupported(log); err != nil {
			return nil, err
		}
	}
	if s.minFree != 0 && s.messageLimit != 0 && float64(s.minFree)/1.5 < float64(s.messageLimit) {
		log.Warnf("queue_minfree(%d) should be at least 1.5*message_size_limit(%d)", s.minFree, s.messageLimit)
	}
	return s, cfg.Err()
}

// parseNewlineMode reads smtpd_forbid_bare_newline.
func parseNewlineMode(text string) (newlineMode, error) {
	switch strings.ToLower(text) {
	case "no":
		return newlineAny, nil
	case "normalize", "yes":
		return newlineNormalize, nil
	case "note":
		return newlineNote, nil
	case "reject":
		return newlineReject, nil
	}
	return 0, fmt.Errorf("bad parameter value: 'smtpd_forbid_bare_newline = %s'", text)
}

// openTables opens the tables and lists that main.cf names.
func (s *Settings) openTables() {
	list := func(id params.String, kind matchlist.Kind) *matchlist.List {
		l := matchlist.New(params.Of(id).Name, s.cfg.String(id), kind, matchlist.Options{Config: s.cfg})
		s.lists = append(s.lists, l)
		return l
	}
	lookup := func(id params.String) *maps.Maps {
		m := maps.Open(params.Of(id).Name, s.cfg.String(id), table.Options{Flags: table.Reader, Config: s.cfg})
		s.mapses = append(s.mapses, m)
		return m
	}
	s.noopCommands = list(params.SmtpdNoopCommands, matchlist.String)
	s.forbiddenCommands = list(params.SmtpdForbiddenCommands, matchlist.String)
	s.xclientHosts = list(params.SmtpdAuthorizedXclientHosts, matchlist.Host)
	s.xforwardHosts = list(params.SmtpdAuthorizedXforwardHosts, matchlist.Host)
	s.verpClients = list(params.SmtpdAuthorizedVerpClients, matchlist.Host)
	s.eventExceptions = list(params.SmtpdClientEventLimitExceptions, matchlist.Host)
	s.newlineExclusions = list(params.SmtpdForbidBareNewlineExclusions, matchlist.Host)
	s.myNetworks = list(params.Mynetworks, matchlist.Host)
	s.discardMaps = lookup(params.SmtpdDiscardEhloKeywordAddressMaps)
	s.footerMaps = lookup(params.SmtpdRejectFooterMaps)
	s.rejectFilter = lookup(params.SmtpdRejectFilterMaps)
	if filter := s.cfg.String(params.SmtpdCommandFilter); filter != "" {
		s.commandFilter = table.Open(filter, table.Options{Flags: table.Reader, Config: s.cfg})
		s.tables = append(s.tables, s.commandFilter)
	}
}

// Changed names a table that has changed on disk since it was opened.
func (s *Settings) Changed() (name string, changed bool) {
	for _, l := range s.lists {
		if name, changed := l.Changed(); changed {
			return name, true
		}
	}
	for _, m := range s.mapses {
		if name, changed := m.Changed(); changed {
			return name, true
		}
	}
	for _, t := range s.tables {
		if t.Changed() {
			return t.RegisteredName(), true
		}
	}
	return "", false
}

// readNotifyClasses reads which errors the postmaster wants to be told.
func (s *Settings) readNotifyClasses(log smtpaccess.Logger) {
	words := s.cfg.List(params.NotifyClasses)
	s.keepHistory = len(words) > 0 && !s.standalone
	for _, word := range words {
		s.notify |= smtpaccess.ErrorClasses[strings.ToLower(word)]
	}
}

// readOverrides computes the flags for cleanup (spec smtpd §14).
func (s *Settings) readOverrides() {
	// This server runs no Milters, so that cleanup must not start its own
	// for mail from elsewhere.
	s.cleanupFlags = cleanupclient.Filter | cleanupclient.BCC | cleanupclient.Map | cleanupclient.SMTPReply
	for _, option := range s.cfg.List(params.ReceiveOverrideOptions) {
		switch option {
		case "no_address_mappings":
			s.cleanupFlags &^= cleanupclient.BCC | cleanupclient.Map
		case "no_header_body_checks":
			s.cleanupFlags &^= cleanupclient.Filter
		}
	}
	s.cleanupFlags |= cleanupclient.AutoUTF8Flag(s.cfg, cleanupclient.ClassSMTPD)
}

// refuseUnsupported ends a server that is asked for what it cannot do: to go
// on without would weaken what the administrator wants.
func (s *Settings) refuseUnsupported(log smtpaccess.Logger) error {
	cfg := s.cfg
	noMilters := slices.Contains(cfg.List(params.ReceiveOverrideOptions), "no_milters")
	switch {
	case !noMilters && (cfg.String(params.SmtpdMilters) != "" || cfg.String(params.SmtpdMilterMaps) != ""):
		return errors.New("smtpd_milters: this version of the SMTP server has no Milter support")
	case cfg.String(params.SmtpdProxyFilter) != "":
		return errors.New("smtpd_proxy_filter: this version of the SMTP server has no before-queue filter support")
	case cfg.Bool(params.SmtpdTlsWrappermode):
		return errors.New("smtpd_tls_wrappermode: this version of the SMTP server has no TLS support")
	case cfg.Bool(params.SmtpdSaslAuthEnable):
		return errors.New("smtpd_sasl_auth_enable: this version of the SMTP server has no SASL support")
	case cfg.String(params.SmtpdUpstreamProxyProtocol) != "" && cfg.String(params.SmtpdUpstreamProxyProtocol) != "haproxy":
		return fmt.Errorf("unsupported smtpd_upstream_proxy_protocol value: %s", cfg.String(params.SmtpdUpstreamProxyProtocol))
	case cfg.String(params.SmtpdUpstreamProxyProtocol) != "":
		return errors.New("smtpd_upstream_proxy_protocol: this version of the SMTP server has no proxy protocol support")
	}
	level := strings.ToLower(cfg.String(params.SmtpdTlsSecurityLevel))
	if level == "" {
		if cfg.Bool(params.SmtpdEnforceTls) {
			level = "encrypt"
		} else if cfg.Bool(params.SmtpdUseTls) {
			level = "may"
		}
	}
	switch level {
	case "", "none":
	case "may":
		log.Warnf("smtpd_tls_security_level = may: this version of the SMTP server has no TLS support. STARTTLS won't be offered")
	case "encrypt", "fingerprint", "verify", "secure":
		return fmt.Errorf("smtpd_tls_security_level = %s: this version of the SMTP server has no TLS support", level)
	default:
		return fmt.Errorf("%s", "Invalid TLS level \""+level+"\"")
	}
	return nil
}
