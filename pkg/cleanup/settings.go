package cleanup

import (
	"fmt"
	"strings"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/header"
	"suffix/pkg/mime"
	"suffix/pkg/params"
)

// addressClass is a set of places where an address stands.
type addressClass uint8

const (
	envelopeSender addressClass = 1 << iota
	envelopeRecipient
	headerSender
	headerRecipient
)

var addressClasses = []struct {
	name  string
	class addressClass
}{
	{"envelope_sender", envelopeSender},
	{"envelope_recipient", envelopeRecipient},
	{"header_sender", headerSender},
	{"header_recipient", headerRecipient},
}

// classes reads a list of address classes, of which only some are allowed.
func classes(name, value string, allowed addressClass) (addressClass, error) {
	var set addressClass
next:
	for _, word := range config.SplitList(value) {
		for _, c := range addressClasses {
			if c.class&allowed != 0 && strings.EqualFold(word, c.name) {
				set |= c.class
				continue next
			}
		}
		return 0, fmt.Errorf("unknown %s value \"%s\" in \"%s\"", name, word, value)
	}
	return set, nil
}

// settings are the values of main.cf that rule what happens to a message.
type settings struct {
	myhostname, mailName, myorigin string
	dialect37, longIDs, utf8       bool
	internalForm                   bool // info_log_address_format

	sizeLimit      int64
	lineLimit      int
	hopLimit       int
	attrLimit      int
	duplicateLimit int
	delayWarning   time.Duration

	keepOriginal   bool // enable_original_recipient
	emptyRecipient string
	verpFilter     string
	verpBounces    bool

	remoteDomain   bool // remote_header_rewrite_domain is set
	tokenLimit     int
	always         bool // always_add_missing_headers
	undisclosed    string
	obsoleteFrom   bool // header_from_format
	nameCharset    string
	drop           map[string]bool
	tlsRequired    bool
	requireTLS     bool // REQUIRETLS is enabled
	requireTLSHead bool // and so is the header for it

	mime        mime.Options
	detect8Bit  bool
	strayCRLF   bool
	reject      *[256]bool
	strip       *[256]bool
	bodyLimit   int64
	alwaysBCC   string
	miltersWant string // non_smtpd_milters

	canonicalClasses, senderClasses, rcptClasses, masqueradeClasses addressClass
	propagateCanonical, propagateVirtual                            bool
	masqueradeDomains                                               []string
	aliasSize, aliasNesting, aliasLength                            int
}

func readSettings(cfg *config.Main) (*settings, error) {
	s := &settings{
		myhostname:     cfg.String(params.Myhostname),
		mailName:       cfg.String(params.MailName),
		myorigin:       cfg.String(params.Myorigin),
		dialect37:      cfg.Dialect37(),
		longIDs:        cfg.Bool(params.EnableLongQueueIds),
		utf8:           cfg.Bool(params.Smtputf8Enable),
		internalForm:   cfg.String(params.InfoLogAddressFormat) == "internal",
		sizeLimit:      cfg.Long(params.MessageSizeLimit),
		lineLimit:      cfg.Int(params.LineLengthLimit),
		hopLimit:       cfg.Int(params.HopcountLimit),
		attrLimit:      cfg.Int(params.QueueFileAttributeCountLimit),
		duplicateLimit: cfg.Int(params.DuplicateFilterLimit),
		delayWarning:   cfg.Time(params.DelayWarningTime),
		keepOriginal:   cfg.Bool(params.EnableOriginalRecipient),
		emptyRecipient: cfg.String(params.EmptyAddressRecipient),
		verpFilter:     cfg.String(params.VerpDelimiterFilter),
		verpBounces:    !cfg.Bool(params.DisableVerpBounces),
		remoteDomain:   cfg.String(params.RemoteHeaderRewriteDomain) != "",
		tokenLimit:     cfg.Int(params.HeaderAddressTokenLimit),
		always:         cfg.Bool(params.AlwaysAddMissingHeaders),
		undisclosed:    cfg.String(params.UndisclosedRecipientsHeader),
		obsoleteFrom:   cfg.String(params.HeaderFromFormat) == "obsolete",
		nameCharset:    cfg.String(params.FullNameEncodingCharset),
		tlsRequired:    cfg.Bool(params.TlsRequiredEnable),
		requireTLS:     cfg.Bool(params.RequiretlsEnable),
		requireTLSHead: cfg.Bool(params.RequiretlsEnable) && cfg.Bool(params.RequiretlsEsmtpHeader),
		detect8Bit:     cfg.Bool(params.Detect8bitEncodingHeader),
		strayCRLF:      cfg.Bool(params.CleanupReplaceStrayCrLf),
		bodyLimit:      int64(cfg.Int(params.BodyChecksSizeLimit)),
		alwaysBCC:      cfg.String(params.AlwaysBcc),
		miltersWant:    strings.Join(cfg.List(params.NonSmtpdMilters), " "),
		aliasSize:      cfg.Int(params.VirtualAliasExpansionLimit),
		aliasNesting:   cfg.Int(params.VirtualAliasRecursionLimit),
		aliasLength:    cfg.Int(params.VirtualAliasAddressLengthLimit),

		masqueradeDomains: cfg.List(params.MasqueradeDomains),
	}
	if s.dialect37 {
		s.tlsRequired, s.requireTLS, s.requireTLSHead = false, false, false
	}
	s.drop = make(map[string]bool)
	for _, name := range cfg.List(params.MessageDropHeaders) {
		s.drop[strings.ToLower(strings.TrimSuffix(name, ":"))] = true
	}
	for _, word := range cfg.List(params.PropagateUnmatchedExtensions) {
		switch strings.ToLower(word) {
		case "canonical":
			s.propagateCanonical = true
		case "virtual":
			s.propagateVirtual = true
		}
	}
	s.reject = byteSet(cfg.String(params.MessageRejectCharacters))
	s.strip = byteSet(cfg.String(params.MessageStripCharacters))
	both := envelopeSender | envelopeRecipient | headerSender | headerRecipient
	for _, c := range []struct {
		to      *addressClass
		name    string
		value   string
		allowed addressClass
	}{
		{&s.canonicalClasses, "canonical_classes", cfg.String(params.CanonicalClasses), both},
		{&s.senderClasses, "sender_canonical_classes", cfg.String(params.SenderCanonicalClasses), envelopeSender | headerSender},
		{&s.rcptClasses, "recipient_canonical_classes", cfg.String(params.RecipientCanonicalClasses), envelopeRecipient | headerRecipient},
		{&s.masqueradeClasses, "masquerade_classes", cfg.String(params.MasqueradeClasses), both},
	} {
		var err error
		if *c.to, err = classes(c.name, c.value, c.allowed); err != nil {
			return nil, err
		}
	}
	if err := s.readMIME(cfg); err != nil {
		return nil, err
	}
	return s, cfg.Err()
}

func (s *settings) readMIME(cfg *config.Main) error {
	s.mime = mime.Options{
		MIME:          !cfg.Bool(params.DisableMimeInputProcessing),
		Downgrade:     cfg.Bool(params.ForceMimeInputConversion),
		HeaderLimit:   cfg.Int(params.HeaderSizeLimit),
		BoundaryLimit: cfg.Int(params.MimeBoundaryLengthLimit),
		NestingLimit:  cfg.Int(params.MimeNestingLimit),
		LineLimit:     s.lineLimit,
	}
	if !s.mime.MIME && s.mime.Downgrade {
		return fmt.Errorf("do not specify both disable_mime_input_processing=yes and force_mime_input_conversion=yes")
	}
	strict := cfg.Bool(params.Strict8bitmime)
	if cfg.Bool(params.Strict7bitHeaders) || strict {
		s.mime.Report |= mime.Err8BitHeader
	}
	if cfg.Bool(params.Strict8bitmimeBody) || strict {
		s.mime.Report |= mime.Err8BitBody
	}
	if cfg.Bool(params.StrictMimeEncodingDomain) {
		s.mime.Report |= mime.ErrDomain
	}
	checks := cfg.String(params.HeaderChecks) + cfg.String(params.MimeHeaderChecks) + cfg.String(params.NestedHeaderChecks)
	if s.mime.Report != 0 || strings.TrimSpace(checks) != "" {
		s.mime.Report |= mime.ErrNesting
	}
	switch action := cfg.String(params.NonEmptyEndOfHeaderAction); action {
	case "", "fix_quietly":
	case "add_header":
		s.mime.AddMIMEError = true
	case "reject":
		s.mime.Report |= mime.ErrEndOfHeader
	default:
		return fmt.Errorf("unknown %s value: %s", "non_empty_end_of_header_action", action)
	}
	return nil
}

// dropped says whether message_drop_headers has the header.
func (s *settings) dropped(info *header.Info, name []byte) bool {
	if len(s.drop) == 0 {
		return false
	}
	if info != nil {
		return s.drop[strings.ToLower(info.Name)]
	}
	return s.drop[strings.ToLower(string(name))]
}

// byteSet reads a set of characters with the escapes of the C language; nil
// for the empty set.
func byteSet(text string) *[256]bool {
	if text == "" {
		return nil
	}
	var set [256]bool
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			set[c] = true
			continue
		}
		i++
		if at := strings.IndexByte(`abfnrtv`, text[i]); at >= 0 {
			set["\a\b\f\n\r\t\v"[at]] = true
			continue
		}
		n, digits := 0, 0
		for digits < 3 && i+digits < len(text) && text[i+digits] >= '0' && text[i+digits] <= '7' {
			n = n*8 + int(text[i+digits]-'0')
			digits++
		}
		if digits == 0 {
			set[text[i]] = true
			continue
		}
		i += digits - 1
		set[byte(n)] = true
	}
	return &set
}
