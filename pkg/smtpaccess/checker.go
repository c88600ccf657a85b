package smtpaccess

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/dnsclient"
	"suffix/pkg/maps"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/table"
	"suffix/pkg/verifyclient"
)

// A stage names one of the restriction lists.
type stage int

const (
	stageClient stage = iota
	stageHelo
	stageSender
	stageRelay
	stageRecipient
	stageEtrn
	stageData
	stageEndOfData
	stageCount
)

// Classes of what a restriction is about, as they stand in replies.
const (
	classClient        = "Client host"
	classReverseClient = "Unverified Client host"
	classHelo          = "Helo command"
	classSender        = "Sender address"
	classRecipient     = "Recipient address"
	classEtrn          = "Etrn command"
	classData          = "Data command"
	classEndOfData     = "End-of-data"
	classLogin         = "SASL login name"
)

// Services are the programs that a Checker asks.
type Services struct {
	Rewrite  *rewriteclient.Client
	Verify   *verifyclient.Client
	Resolver *dnsclient.Resolver
	Log      Logger // for warnings at start
}

// A Checker holds the rules of one main.cf. It is safe for concurrent use.
type Checker struct {
	cfg      *config.Main
	log      Logger
	rewrite  *rewriteclient.Client
	verify   *verifyclient.Client
	resolver *dnsclient.Resolver
	style    LogStyle
	rbl      *rblCache
	policies map[string]*policyService
	fatal    error // what is wrong with one of them

	lists   [stageCount][]restriction
	classes map[string][]restriction
	tables  map[string]*table.Handle
	matches []*matchlist.List
	maps    []*maps.Maps

	myNetworks, myDestination, logPermit, mxBackupNetworks *matchlist.List
	recipientCanonical, senderCanonical, canonical         *maps.Maps
	virtualAlias, virtualMailbox, relayRecipient, local    *maps.Maps
	senderLogin, rblReplyMaps                              *maps.Maps
	extension                                              maps.Extension
	protocols                                              config.Protocols
	ownAddresses, proxyAddresses                           []netip.Addr

	softBounce, delayReject, relayFirst, proxyFilter  bool
	rejectUnlistedRecipient, rejectUnlistedSender     bool
	parentStyleDot, allowUntrustedRouting, showTable  bool
	smtputf8, sasl                                    bool
	codes                                             map[params.Int]int
	tempfail                                          map[params.String]string
	nullSenderKey, expansionFilter, defaultRBL        string
	doubleBounce, origin                              string
	unverifiedRecipientReason, unverifiedSenderReason string
	pollCount                                         int
	pollDelay                                         time.Duration
	warnMXBackup                                      sync.Once
	compat                                            compatibility
}

// New reads the rules from main.cf and opens the tables that they name. The
// error is a fatal one, in Postfix's words. Standalone servers (sendmail -bs)
// have no rules and need no Checker.
func New(cfg *config.Main, services Services) (*Checker, error) {
	c := &Checker{
		cfg: cfg, log: services.Log,
		rewrite: services.Rewrite, verify: services.Verify, resolver: services.Resolver,
		style:    LogStyle{Internal: cfg.String(params.InfoLogAddressFormat) == "internal", NoSASL: cfg.Dialect37()},
		rbl:      newRBLCache(rblCacheSize),
		classes:  make(map[string][]restriction),
		tables:   make(map[string]*table.Handle),
		policies: make(map[string]*policyService),

		softBounce:              cfg.Bool(params.SoftBounce),
		delayReject:             cfg.Bool(params.SmtpdDelayReject),
		relayFirst:              cfg.Bool(params.SmtpdRelayBeforeRecipientRestrictions),
		proxyFilter:             cfg.String(params.SmtpdProxyFilter) != "",
		rejectUnlistedRecipient: cfg.Bool(params.SmtpdRejectUnlistedRecipient),
		rejectUnlistedSender:    cfg.Bool(params.SmtpdRejectUnlistedSender),
		parentStyleDot:          !matchlist.ParentMatches(cfg, "smtpd_access_maps"),
		allowUntrustedRouting:   cfg.Bool(params.AllowUntrustedRouting),
		showTable:               cfg.Bool(params.ShowUserUnknownTableName),
		smtputf8:                cfg.Bool(params.Smtputf8Enable),
		codes:                   make(map[params.Int]int),
		tempfail:                make(map[params.String]string),
		nullSenderKey:           cfg.String(params.SmtpdNullAccessLookupKey),
		expansionFilter:         Unescape(cfg.Raw(params.SmtpdExpansionFilter)),
		defaultRBL:              cfg.Raw(params.DefaultRblReply),
		doubleBounce:            cfg.String(params.DoubleBounceSender),
		origin:                  cfg.String(params.Myorigin),
		sasl:                    cfg.Bool(params.SmtpdSaslAuthEnable),
		extension:               maps.ExtensionFrom(cfg),
		protocols:               cfg.Protocols(),
		pollCount:               cfg.Int(params.AddressVerifyPollCount),
		pollDelay:               cfg.Time(params.AddressVerifyPollDelay),

		unverifiedRecipientReason: cfg.String(params.UnverifiedRecipientRejectReason),
		unverifiedSenderReason:    cfg.String(params.UnverifiedSenderRejectReason),
	}
	for _, option := range cfg.List(params.ReceiveOverrideOptions) {
		if option == "no_unknown_recipient_checks" {
			c.rejectUnlistedRecipient, c.rejectUnlistedSender = false, false
		}
	}
	for _, id := range replyCodes {
		c.codes[id] = cfg.Int(id)
	}
	for _, id := range tempfailActions {
		action := cfg.String(id)
		if action != "defer" && action != "defer_if_permit" {
			return nil, fmt.Errorf("bad configuration: %s = %s", params.Of(id).Name, action)
		}
		c.tempfail[id] = action
	}
	c.compat = readCompatibility(cfg)
	var err error
	if c.ownAddresses, err = cfg.OwnAddresses(); err != nil {
		return nil, err
	}
	if c.proxyAddresses, err = cfg.ProxyAddresses(); err != nil {
		return nil, err
	}
	c.openMaps()
	if err := c.compileLists(); err != nil {
		return nil, err
	}
	if c.fatal != nil {
		return nil, c.fatal
	}
	return c, cfg.Err()
}

// replyCodes are the parameters that hold reply codes.
var replyCodes = []params.Int{
	params.AccessMapRejectCode, params.AccessMapDeferCode, params.RejectCode, params.DeferCode,
	params.InvalidHostnameRejectCode, params.NonFqdnRejectCode, params.MapsRblRejectCode,
	params.MultiRecipientBounceRejectCode, params.PlaintextRejectCode, params.RelayDomainsRejectCode,
	params.UnknownAddressRejectCode, params.UnknownClientRejectCode, params.UnknownHostnameRejectCode,
	params.UnknownLocalRecipientRejectCode, params.UnknownRelayRecipientRejectCode,
	params.UnknownVirtualAliasRejectCode, params.UnknownVirtualMailboxRejectCode,
	params.UnverifiedRecipientRejectCode, params.UnverifiedSenderRejectCode,
	params.UnverifiedRecipientDeferCode, params.UnverifiedSenderDeferCode,
}

// tempfailActions are the parameters that say what a temporary error does.
var tempfailActions = []params.String{
	params.RejectTempfailAction, params.UnknownHeloHostnameTempfailAction, params.UnknownAddressTempfailAction,
	params.UnverifiedRecipientTempfailAction, params.UnverifiedSenderTempfailAction,
}

// openMaps opens the tables and lists that single restrictions use.
func (c *Checker) openMaps() {
	list := func(id params.String, kind matchlist.Kind) *matchlist.List {
		l := matchlist.New(params.Of(id).Name, c.cfg.String(id), kind, matchlist.Options{Config: c.cfg})
		c.matches = append(c.matches, l)
		return l
	}
	lookup := func(id params.String) *maps.Maps {
		m := maps.Open(params.Of(id).Name, c.cfg.String(id), table.Options{Flags: table.Reader, Config: c.cfg})
		c.maps = append(c.maps, m)
		return m
	}
	c.myNetworks = list(params.Mynetworks, matchlist.Host)
	c.myDestination = list(params.Mydestination, matchlist.Domain)
	c.logPermit = list(params.SmtpdLogAccessPermitActions, matchlist.String)
	c.mxBackupNetworks = list(params.PermitMxBackupNetworks, matchlist.Host)
	c.recipientCanonical = lookup(params.RecipientCanonicalMaps)
	c.senderCanonical = lookup(params.SenderCanonicalMaps)
	c.canonical = lookup(params.CanonicalMaps)
	c.virtualAlias = lookup(params.VirtualAliasMaps)
	c.virtualMailbox = lookup(params.VirtualMailboxMaps)
	c.relayRecipient = lookup(params.RelayRecipientMaps)
	c.local = lookup(params.LocalRecipientMaps)
	c.senderLogin = lookup(params.SmtpdSenderLoginMaps)
	c.rblReplyMaps = lookup(params.RblReplyMaps)
}

// compileLists reads the restriction classes and lists.
func (c *Checker) compileLists() error {
	// The names first, so that classes may refer to each other.
	const builtin = "reject_sender_login_mismatch"
	c.classes[builtin] = nil
	names := c.cfg.List(params.SmtpdRestrictionClasses)
	for _, name := range names {
		c.classes[name] = nil
	}
	c.classes[builtin] = c.compile("reject_authenticated_sender_login_mismatch reject_unauthenticated_sender_login_mismatch", true)
	for _, name := range names {
		value, _ := c.cfg.Lookup(name)
		if strings.TrimSpace(value) == "" {
			return fmt.Errorf("restriction class `%s' needs a definition", name)
		}
		c.classes[name] = c.compile(value, true)
	}
	for i, id := range [...]params.String{
		stageClient:    params.SmtpdClientRestrictions,
		stageHelo:      params.SmtpdHeloRestrictions,
		stageSender:    params.SmtpdSenderRestrictions,
		stageRelay:     params.SmtpdRelayRestrictions,
		stageRecipient: params.SmtpdRecipientRestrictions,
		stageEtrn:      params.SmtpdEtrnRestrictions,
		stageData:      params.SmtpdDataRestrictions,
		stageEndOfData: params.SmtpdEndOfDataRestrictions,
	} {
		c.lists[i] = c.compile(c.cfg.String(id), true)
	}
	c.compat.relay = c.compile("permit_mynetworks, permit_sasl_authenticated, permit_auth_destination", true)
	return c.checkRelayControl()
}

// Changed names a table that has changed on disk since it was opened.
func (c *Checker) Changed() (name string, changed bool) {
	for _, t := range c.tables {
		if t.Changed() {
			return t.RegisteredName(), true
		}
	}
	for _, l := range c.matches {
		if name, changed := l.Changed(); changed {
			return name, true
		}
	}
	for _, m := range c.maps {
		if name, changed := m.Changed(); changed {
			return name, true
		}
	}
	return "", false
}

// Style returns the form of log lines.
func (c *Checker) Style() LogStyle { return c.style }

// DelayReject says that client, helo and sender rules wait for RCPT.
func (c *Checker) DelayReject() bool { return c.delayReject }
