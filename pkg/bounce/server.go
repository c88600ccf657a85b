// Package bounce is the engine of bounce(8), which under the names bounce,
// defer and trace keeps a log for each message with undelivered, delayed or
// reported recipients, and tells senders and postmasters about them
// (spec ipc §11, delivery §12 and §13).
package bounce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/bounceclient"
	"suffix/pkg/bouncelog"
	"suffix/pkg/config"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/service"
	"suffix/pkg/syserr"
)

// Values of nrequest.
const (
	requestAppend = iota
	requestFlush
	requestWarn
	requestVERP
	requestOne
	requestTrace
)

// A Server answers the requests of one of the three services.
type Server struct {
	cfg       *config.Main
	queueName string // our service name is the name of the log directory
	tree      *queue.Tree
	logs      bouncelog.Options
	templates *Templates
	settings
}

// settings are the parameters that notices depend on.
type settings struct {
	hostname, mailName string
	doubleBounce       string // full address of the postmaster notices' sender
	classes            map[string]bool
	bounceRecipient    string
	doubleRecipient    string
	delayRecipient     string
	sizeLimit          int
	lifetime           time.Duration
	threaded, smtputf8 bool
	tlsRequired        bool
	requireTLS, redact bool
	verpFilter         string
	dialect37          bool
}

// New reads the parameters of bounce(8) for the named service.
func New(cfg *config.Main, serviceName string) (*Server, error) {
	if !queue.ValidName(serviceName) {
		return nil, fmt.Errorf("malformed service name: %s", serviceName)
	}
	s := &Server{
		cfg: cfg, queueName: serviceName,
		tree: queue.New(cfg, maillog.Warnf), logs: bouncelog.ReadOptions(cfg),
	}
	s.settings = settings{
		hostname:        cfg.String(params.Myhostname),
		mailName:        cfg.String(params.MailName),
		bounceRecipient: cfg.String(params.BounceNoticeRecipient),
		doubleRecipient: cfg.String(params.X2bounceNoticeRecipient),
		delayRecipient:  cfg.String(params.DelayNoticeRecipient),
		sizeLimit:       cfg.Int(params.BounceSizeLimit),
		lifetime:        cfg.Time(params.MaximalQueueLifetime),
		threaded:        cfg.Bool(params.EnableThreadedBounces),
		smtputf8:        cfg.Bool(params.Smtputf8Enable),
		tlsRequired:     cfg.Bool(params.TlsRequiredEnable),
		requireTLS:      cfg.Bool(params.RequiretlsEnable),
		redact:          cfg.Bool(params.RequiretlsRedactDsn),
		verpFilter:      cfg.String(params.VerpDelimiterFilter),
		dialect37:       cfg.Dialect37(),
		classes:         make(map[string]bool),
	}
	s.doubleBounce = cfg.String(params.DoubleBounceSender) + "@" + s.hostname
	for _, class := range cfg.List(params.NotifyClasses) {
		switch class := strings.ToLower(class); class {
		case "2bounce", "bounce", "data", "delay", "policy", "protocol", "resource", "software":
			s.classes[class] = true
		default:
			return nil, fmt.Errorf("unknown notify_classes value \"%s\" in \"%s\"", class, cfg.String(params.NotifyClasses))
		}
	}
	var err error
	s.templates, err = LoadTemplates(cfg)
	return s, err
}

// Serve answers one request.
func (s *Server) Serve(ctx context.Context, _ *service.Process, c *service.Conn) {
	if err := c.W.Str("protocol", "delivery_status_protocol").End(); err != nil {
		return
	}
	if _, err := c.R.Buffered().Peek(1); err != nil {
		return
	}
	status := 0
	clean, err := s.handle(ctx, c.R)
	if err != nil {
		maillog.Warnf("%v", err)
		status = -1
		clean()
	}
	if err := c.W.Int("status", status).End(); err != nil {
		clean()
	}
}

// handle reads one request and does what it asks. clean undoes an append whose
// caller will do it anew.
func (s *Server) handle(ctx context.Context, in *attr.Reader) (clean func(), err error) {
	clean = func() {}
	request, err := in.Int("nrequest")
	if err != nil {
		return clean, malformed(err)
	}
	in.Lenient = true
	if request == requestAppend {
		return s.append(ctx, in)
	}
	n, err := s.readNotice(in)
	if err != nil {
		return clean, err
	}
	var verp string
	var rcpt dsn.Recipient
	var d dsn.DSN
	switch request {
	case requestVERP:
		verp, _ = in.Str("verp_delimiters")
	case requestOne:
		rcpt = readRecipient(in)
		d, _ = bounceclient.ReadDSN(in)
	}
	if err := in.End(); err != nil {
		return clean, malformed(err)
	}
	switch request {
	case requestFlush:
		return clean, s.flush(ctx, n)
	case requestWarn:
		return clean, s.warn(ctx, n)
	case requestVERP:
		if len(verp) != 2 || strings.Trim(verp, s.verpFilter) != "" {
			return clean, fmt.Errorf("malformed verp delimiter string: %s", maillog.Printable(verp))
		}
		return clean, s.flushVERP(ctx, n, verp)
	case requestOne:
		if s.queueName != "bounce" {
			return clean, fmt.Errorf("wrong service name \"%s\" for one-recipient bouncing", s.queueName)
		}
		return clean, s.one(ctx, n, rcpt, d)
	case requestTrace:
		return clean, s.trace(ctx, n)
	}
	return clean, fmt.Errorf("unknown command: %d", request)
}

func malformed(err error) error {
	maillog.Warnf("%v", err)
	return errors.New("malformed request")
}

// append adds a recipient to the log (spec delivery §12.1).
func (s *Server) append(ctx context.Context, in *attr.Reader) (clean func(), err error) {
	clean = func() {}
	flags, _ := in.Int("flags")
	id, _ := in.Str("queue_id")
	rcpt := readRecipient(in)
	d, _ := bounceclient.ReadDSN(in)
	if err := in.End(); err != nil {
		return clean, malformed(err)
	}
	if !queue.ValidID(id) {
		return clean, fmt.Errorf("malformed queue id: %s", maillog.Printable(id))
	}
	if flags&bounceclient.FlagClean != 0 {
		clean = func() {
			if err := s.tree.Remove(s.queueName, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
				maillog.Warnf("remove %s %s: %s", s.queueName, id, syserr.Text(err))
			}
		}
	}
	entry := bouncelog.Entry{
		Original: rcpt.Original, Recipient: rcpt.Address, Offset: rcpt.Offset, DSNOrig: rcpt.ORCPT, Notify: int(rcpt.Notify),
		Status: d.Status, Action: d.Action, DiagType: d.DiagType, DiagText: d.DiagText,
		MTAType: d.MTAType, MTAName: d.MTAName, Reason: d.Reason,
	}
	if err := bouncelog.Append(ctx, s.tree, s.queueName, id, &entry, s.logs); err != nil {
		return clean, fmt.Errorf("append file %s %s: %s", s.queueName, id, syserr.Text(err))
	}
	return clean, nil
}

func (s *Server) readNotice(in *attr.Reader) (*bounceclient.Notice, error) {
	n := &bounceclient.Notice{}
	n.Flags, _ = in.Int("flags")
	n.QueueName, _ = in.Str("queue_name")
	n.QueueID, _ = in.Str("queue_id")
	n.Encoding, _ = in.Str("encoding")
	in.Lenient = false
	n.SendOpts, _ = in.IntOf("sendopts", "smtputf8")
	in.Lenient = true
	n.Sender, _ = in.Str("sender")
	n.EnvelopeID, _ = in.Str("envelope_id")
	ret, err := in.Int("ret_flags")
	n.Ret = dsn.Ret(ret)
	switch {
	case err != nil:
		return nil, malformed(err)
	case !queue.ValidName(n.QueueName):
		return nil, fmt.Errorf("malformed queue name: %s", maillog.Printable(n.QueueName))
	case !queue.ValidID(n.QueueID):
		return nil, fmt.Errorf("malformed queue id: %s", maillog.Printable(n.QueueID))
	}
	n.Sender = maillog.Printable(n.Sender)
	n.EnvelopeID = maillog.Printable(n.EnvelopeID)
	return n, nil
}

func readRecipient(in *attr.Reader) (r dsn.Recipient) {
	r.Original, _ = in.Str("original_recipient")
	r.Address, _ = in.Str("recipient")
	r.Offset, _ = in.Long("offset")
	r.ORCPT, _ = in.Str("dsn_orig_rcpt")
	notify, _ := in.Int("notify_flags")
	r.Notify = dsn.Notify(notify)
	return r
}

// removeLog deletes the log of a message whose sender was told.
func (s *Server) removeLog(id string) error {
	if err := s.tree.Remove(s.queueName, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s %s: %s", s.queueName, id, syserr.Text(err))
	}
	return nil
}

// readLog returns the entries of a message's log; nil when there is no log. A
// log that cannot be read to its end is an error: its last recipients would be
// forgotten with it.
func (s *Server) readLog(id string) ([]bouncelog.Entry, error) {
	r, err := bouncelog.Open(s.tree, s.queueName, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s %s: %s", s.queueName, id, syserr.Text(err))
	}
	defer r.Close()
	var all []bouncelog.Entry
	for {
		var e bouncelog.Entry
		switch err := r.Next(&e); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, e)
	}
}

// markDone overwrites recipients in the message file, so that they are not
// tried again although the message stays in the queue.
func markDone(f *os.File, entries []bouncelog.Entry) error {
	if f == nil {
		return nil
	}
	for _, e := range entries {
		if e.Offset <= 0 {
			continue
		}
		if _, err := f.WriteAt([]byte{'D'}, e.Offset); err != nil {
			return fmt.Errorf("update queue file %s: %s", f.Name(), syserr.Text(err))
		}
	}
	return nil
}
