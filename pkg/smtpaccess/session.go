package smtpaccess

import (
	"net/netip"
	"strings"

	"suffix/pkg/address"
)

// Unknown stands for a client name, address or port that is not known.
const Unknown = "unknown"

// A NameStatus says how the lookup of a client name ended (spec smtpd §2.2).
type NameStatus int

const (
	NameOK        NameStatus = iota
	NameTemporary            // try again later
	NamePermanent            // there is no name
	NameForged               // there is a name, which does not lead back to the address
)

// A Client is the identity of an SMTP client, of the connection or as XCLIENT
// claims it.
type Client struct {
	Name          string // verified name, or Unknown
	NameStatus    NameStatus
	ReverseName   string // unverified name, or Unknown
	ReverseStatus NameStatus
	Address       string // numeric, without prefix, or Unknown
	Port          string
	ServerAddress string
	ServerPort    string
	IP            netip.Addr // the address, invalid if Unknown
	LogName       string     // NAME[ADDRESS], with :PORT if configured
}

// RFCAddress returns the address as it stands in headers: IPv6 addresses have
// a prefix.
func (c *Client) RFCAddress() string {
	if c.IP.Is6() && !c.IP.Is4In6() {
		return "IPv6:" + c.Address
	}
	return c.Address
}

// Family returns the operating system's number of the address family: 2 for
// IPv4, 10 for IPv6, 0 for none.
func (c *Client) Family() int {
	switch {
	case !c.IP.IsValid():
		return 0
	case c.IP.Is4():
		return 2
	}
	return 10
}

// SetLogName derives the form of the client in log lines.
func (c *Client) SetLogName(withPort bool) {
	c.LogName = c.Name + "[" + c.Address + "]"
	if withPort {
		c.LogName += ":" + c.Port
	}
}

// A Logger writes log lines. *maillog.Logger is one.
type Logger interface {
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
}

// A Session is what the rules know about a client and its commands. The SMTP
// server keeps it up to date.
type Session struct {
	Client
	Log        Logger
	Stage      string // CONNECT, HELO, … the command being executed, END-OF-MESSAGE
	Protocol   string // SMTP or ESMTP
	Helo       string
	HasHelo    bool
	Login      string // SASL user, or that of XCLIENT
	Method     string // SASL mechanism
	Pipelining bool   // improper pipelining was seen
	TLS        bool
	Stress     string
	ServerName string // myhostname
	Etrn       string // domain of the ETRN command being executed
	Tx         *Transaction

	ifReject deferral // active while one stage is evaluated
	ifPermit deferral // carried on from stage to stage
	stages   [3]deferral
}

// A Transaction is what the rules know about the mail transaction.
type Transaction struct {
	QueueID      string // empty: none yet
	Sender       string // internal form
	HasSender    bool
	Recipient    string // the one being examined, else the first accepted one
	HasRecipient bool
	Accepted     int // recipients
	SASLSender   string
	Size         int64 // declared, then actual
	Instance     string
	SMTPUTF8     bool
	Actions      Actions
}

// Actions are effects of access tables on the whole message.
type Actions struct {
	Filter   string
	Redirect string
	BCC      []string
	Prepend  []string
	Hold     bool
	Discard  bool
}

// QueueID returns the queue ID of the transaction in log form.
func (s *Session) QueueID() string {
	if s.Tx.QueueID == "" {
		return "NOQUEUE"
	}
	return s.Tx.QueueID
}

// A LogStyle selects the form of addresses and the fields of log lines.
type LogStyle struct {
	Internal bool // info_log_address_format = internal
	NoSASL   bool // the sasl_ elements are absent (3.7)
}

// Context returns the part of a log line that says who sends what to whom:
// "; from=<…> …", each element only if known (spec smtpd §12).
func (s *Session) Context(style LogStyle) string {
	var b strings.Builder
	sep := ";"
	add := func(parts ...string) {
		b.WriteString(sep)
		b.WriteByte(' ')
		for _, part := range parts {
			b.WriteString(part)
		}
		sep = ""
	}
	if s.Tx.HasSender {
		add("from=<", style.Address(s.Tx.Sender), ">")
	}
	if s.Tx.HasRecipient {
		add("to=<", style.Address(s.Tx.Recipient), ">")
	}
	if s.Protocol != "" {
		add("proto=", s.Protocol)
	}
	if s.HasHelo {
		add("helo=<", s.Helo, ">")
	}
	if !style.NoSASL {
		if s.Method != "" {
			add("sasl_method=", s.Method)
		}
		if s.Login != "" {
			add("sasl_username=", s.Login)
		}
		if s.Tx.SASLSender != "" {
			add("sasl_sender=", s.Tx.SASLSender)
		}
	}
	return b.String()
}

// Address returns an address in the form of log lines.
func (style LogStyle) Address(internal string) string {
	if style.Internal {
		return internal
	}
	return address.QuoteUnlessEmpty(internal)
}

// LogAction writes one line about a decision (spec smtpd §12).
func (s *Session) LogAction(style LogStyle, action, text string) {
	s.Log.Infof("%s: %s: %s from %s: %s%s", s.QueueID(), action, s.Stage, s.LogName, text, s.Context(style))
}
