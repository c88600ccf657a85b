package pickup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/address"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/safefile"
	"suffix/pkg/syserr"
)

// scanner takes messages out of the maildrop queue.
type scanner struct {
	tree    *queue.Tree
	log     *maillog.Logger
	service string // of cleanup
	flags   cleanupclient.Flags
	auto    cleanupclient.Flags // for messages that are not queued again

	filter, hostname, mailName, queueDir string
	maxRecord                            int
	owner                                uint32 // mail_owner
	internalForm, dialect37              bool
	reader                               *record.FileReader
}

func newScanner(cfg *config.Main, log *maillog.Logger) (*scanner, error) {
	owner, err := account.Lookup(cfg.String(params.MailOwner))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", "mail_owner", err)
	}
	s := &scanner{
		tree:         queue.New(cfg, log.Warnf),
		log:          log,
		service:      cfg.String(params.CleanupServiceName),
		flags:        cleanupclient.Bounce | cleanupclient.Filter | cleanupclient.BCC | cleanupclient.Map | cleanupclient.Milter,
		auto:         cleanupclient.AutoUTF8Flag(cfg, cleanupclient.ClassSendmail),
		filter:       cfg.String(params.ContentFilter),
		hostname:     cfg.String(params.Myhostname),
		mailName:     cfg.String(params.MailName),
		queueDir:     cfg.String(params.QueueDirectory),
		maxRecord:    cfg.Int(params.LineLengthLimit),
		owner:        uint32(owner.UID),
		internalForm: cfg.String(params.InfoLogAddressFormat) == "internal",
		dialect37:    cfg.Dialect37(),
		reader:       record.NewFileReader(nil, ""),
	}
	s.reader.SetMax(s.maxRecord)
	for _, option := range cfg.List(params.ReceiveOverrideOptions) {
		switch option {
		case "no_address_mappings":
			s.flags &^= cleanupclient.BCC | cleanupclient.Map
		case "no_header_body_checks":
			s.flags &^= cleanupclient.Filter
		case "no_milters":
			s.flags &^= cleanupclient.Milter
		case "no_unknown_recipient_checks":
		default:
			return nil, fmt.Errorf("unknown receive_override_options value \"%s\" in \"%s\"", option, cfg.String(params.ReceiveOverrideOptions))
		}
	}
	return s, cfg.Err()
}

// scan hands over all complete messages, until a pass finds none that it can
// take away.
func (s *scanner) scan(ctx context.Context) {
	for removed := true; removed && ctx.Err() == nil; {
		removed = false
		names := s.tree.Scan(queue.Maildrop)
		for names.Next() && ctx.Err() == nil {
			if info, ok := s.tree.Ready(queue.Maildrop, names.Name()); ok && s.pickup(ctx, names.Name(), info) {
				removed = true
			}
		}
		if err := names.Err(); err != nil {
			s.log.Warnf("scan %s: %v", queue.Maildrop, err)
		}
		names.Close()
	}
}

// verdict says what becomes of the file.
type verdict bool

const (
	keepFile   verdict = false
	removeFile verdict = true
)

// pickup handles one message and says whether its file is gone.
func (s *scanner) pickup(ctx context.Context, name string, info queue.Info) bool {
	file, err := safefile.Open(info.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		s.log.Warnf("open input file %s: %v", info.Path, safefile.Cause(err))
		if errors.Is(err, fs.ErrPermission) {
			s.log.Warnf("if this file was created by Postfix < 1.1, then you may have to chmod a+r %s/%s", s.queueDir, info.Path)
			return false
		}
	default:
		what := s.guarded(ctx, file, name, info)
		file.Close()
		if what == keepFile {
			return false
		}
	}
	if err := s.tree.Remove(queue.Maildrop, name); err != nil {
		s.log.Warnf("remove %s: %s", info.Path, syserr.Text(err))
		return false
	}
	return true
}

const (
	maxFuture = 2 * time.Hour
	oldAge    = 24 * time.Hour
)

// guarded is submit, but a failure of the program over one message, which a
// user may have made up, does not keep the others waiting.
func (s *scanner) guarded(ctx context.Context, file *os.File, name string, info queue.Info) (what verdict) {
	defer func() {
		if reason := recover(); reason != nil {
			s.log.Logf(maillog.Panic, "%s: uid=%d: %v", info.Path, info.UID, reason)
			what = keepFile
		}
	}()
	return s.submit(ctx, file, name, info)
}

// submit sends a message to cleanup.
func (s *scanner) submit(ctx context.Context, file *os.File, name string, info queue.Info) verdict {
	m := &mail{s: s, name: name, path: info.Path, uid: info.UID, mtime: info.Mtime}
	m.requeued = info.UID == s.owner && info.Mode&syscall.S_IROTH == 0
	flags := s.flags | s.auto
	if m.requeued {
		flags = s.flags &^ cleanupclient.Milter
	}
	out, err := cleanupclient.Open(ctx, s.service, flags)
	if err != nil {
		s.log.Warnf("%v", err)
		return keepFile
	}
	defer out.Abort()
	m.out, m.id = out, out.QueueID()
	m.checkTime(time.Now())
	if s.filter != "" {
		out.Put(record.Filter, s.filter)
	}
	s.reader.Reset(file, info.Path)
	if what, ok := m.copy(s.reader); !ok {
		return what
	}
	return m.finish()
}

func (m *mail) checkTime(now time.Time) {
	what := "message " + m.path
	if m.s.dialect37 {
		what = "message"
	}
	switch age := now.Sub(m.mtime); {
	case -age > maxFuture:
		m.s.log.Warnf("%s: %s dated %d seconds into the future", m.id, what, int64(-age/time.Second))
		m.mtime = now
	case age > oldAge:
		m.s.log.Warnf("%s: %s has been queued for %d days", m.id, what, int64(age/oldAge))
	}
}

// finish reads the verdict of cleanup.
func (m *mail) finish() verdict {
	status, reason, err := m.out.Finish()
	if err != nil {
		maillog.Debugf("%s: %v", m.id, err)
	}
	if status == 0 {
		return removeFile
	}
	if reason == "" {
		m.s.log.Warnf("%s: error writing %s: %s", m.path, m.id, status.Detail().Text)
	}
	return status&(cleanupclient.Bad|cleanupclient.Rcpt) != 0
}

// logAddress gives an address the form that info_log_address_format asks for.
func (s *scanner) logAddress(internal string) string {
	if s.internalForm {
		return internal
	}
	return address.QuoteUnlessEmpty(internal)
}

// received returns the lines of the header that this program adds.
func (m *mail) received() (first, second string) {
	var b strings.Builder
	fmt.Fprintf(&b, "Received: by %s (%s, from userid %d)", m.s.hostname, m.s.mailName, m.uid)
	return b.String(), "\tid " + m.id + "; " + cleanupclient.Date(m.mtime, m.s.dialect37)
}
