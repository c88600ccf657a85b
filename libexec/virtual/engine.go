package virtual

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"suffix/pkg/account"
	"suffix/pkg/config"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/localdomain"
	"suffix/pkg/mailbox"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
	"suffix/pkg/outcome"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// engine holds the parameters and tables of virtual(8).
type engine struct {
	service           string
	base              string
	mailboxes         *maps.Maps
	uids, gids        *maps.Maps
	filter            *maps.Maps
	search            maps.Search
	minimumUID        int
	limit             int64
	locking           mailbox.Locking
	strictOwnership   bool
	originalRecipient bool
}

func newEngine(cfg *config.Main, service string) (*engine, error) {
	secure := table.Options{Config: cfg, Flags: table.Reader | table.NoRegSub | table.NoUnauth}
	e := &engine{
		service:           service,
		base:              cfg.String(params.VirtualMailboxBase),
		mailboxes:         maps.Open("virtual_mailbox_maps", cfg.String(params.VirtualMailboxMaps), secure),
		uids:              maps.Open("virtual_uid_maps", cfg.String(params.VirtualUidMaps), secure),
		gids:              maps.Open("virtual_gid_maps", cfg.String(params.VirtualGidMaps), secure),
		filter:            maps.Open("virtual_delivery_status_filter", cfg.String(params.VirtualDeliveryStatusFilter), table.Options{Config: cfg, Flags: table.Reader}),
		search:            maps.Search{Extension: maps.ExtensionFrom(cfg), IsLocal: localdomain.New(cfg).Bare},
		minimumUID:        cfg.Int(params.VirtualMinimumUid),
		limit:             cfg.Long(params.VirtualMailboxLimit),
		strictOwnership:   cfg.Bool(params.StrictMailboxOwnership),
		originalRecipient: cfg.Bool(params.EnableOriginalRecipient),
	}
	var err error
	if e.locking, err = mailbox.ParseLocking("virtual_mailbox_lock", cfg.String(params.VirtualMailboxLock)); err != nil {
		return nil, err
	}
	e.locking.Attempts = cfg.Int(params.DeliverLockAttempts)
	e.locking.Delay = cfg.Time(params.DeliverLockDelay)
	e.locking.Stale = cfg.Time(params.StaleLockTime)
	message := cfg.Long(params.MessageSizeLimit)
	switch {
	case e.base == "" && e.mailboxes.Empty():
		// Nothing is configured: every recipient is unknown.
	case !strings.HasPrefix(e.base, "/"):
		return nil, fmt.Errorf("do not specify relative pathname: virtual_mailbox_base = %s", e.base)
	}
	switch {
	case e.limit > 0 && message <= 0:
		return nil, errors.New("configuration error: virtual_mailbox_limit is limited but message_size_limit is unlimited")
	case e.limit > 0 && e.limit < message:
		return nil, errors.New("configuration error: virtual_mailbox_limit is smaller than message_size_limit")
	}
	return e, nil
}

func (e *engine) changed() (string, bool) {
	for _, m := range []*maps.Maps{e.mailboxes, e.uids, e.gids, e.filter} {
		if name, changed := m.Changed(); changed {
			return name, true
		}
	}
	return "", false
}

func (e *engine) deliver(_ context.Context, r *deliver.Request) dsn.DSN {
	for _, rcpt := range r.Recipients {
		e.recipient(r, rcpt)
	}
	return dsn.DSN{}
}

// errMisconfigured is recorded for trouble that only the admin can mend; the
// log says what it is.
var errMisconfigured = dsn.DSN{Status: "4.3.5", Reason: "mail system configuration error"}

func (e *engine) recipient(r *deliver.Request, rcpt dsn.Recipient) outcome.Result {
	at := outcome.Attempt{Relay: e.service}
	key := table.Fold(rcpt.Address, true)
	match, found, err := e.mailboxes.FindAddress(key, e.search)
	if err != nil {
		maillog.Warnf("table virtual_mailbox_maps: lookup %s: %v", key, err)
		return r.Defer(rcpt, at, errMisconfigured)
	}
	if !found {
		return r.Bounce(rcpt, at, dsn.DSN{Status: "5.1.1", Reason: fmt.Sprintf("unknown user: \"%s\"", key)})
	}
	if strings.Contains("/"+match.Value, "/../") {
		maillog.Warnf("recipient %s: bad mailbox path %s in virtual_mailbox_maps", key, match.Value)
		return r.Defer(rcpt, at, errMisconfigured)
	}
	uid, ok := e.id(key, e.uids, "virtual_uid_maps", "uid", e.minimumUID)
	if !ok {
		return r.Defer(rcpt, at, errMisconfigured)
	}
	gid, ok := e.id(key, e.gids, "virtual_gid_maps", "gid", 1)
	if !ok {
		return r.Defer(rcpt, at, errMisconfigured)
	}
	path := e.base + "/" + match.Value
	if strings.HasSuffix(path, "/") {
		return e.maildir(r, rcpt, at, path, uid, gid)
	}
	return e.mbox(r, rcpt, at, path, uid, gid)
}

// id looks up a numeric user or group: a decimal number of at least minimum
// that fits the system's type, and is not -1.
func (e *engine) id(key string, m *maps.Maps, title, kind string, minimum int) (int, bool) {
	match, found, err := m.FindAddress(key, e.search)
	switch {
	case err != nil:
		maillog.Warnf("table %s: lookup %s: %v", title, key, err)
		return 0, false
	case !found:
		maillog.Warnf("recipient %s: not found in %s", key, title)
		return 0, false
	}
	id, err := strconv.ParseUint(match.Value, 10, 32)
	if err != nil || id == 1<<32-1 || int(id) < minimum {
		maillog.Warnf("recipient %s: bad %s %s in %s", key, kind, match.Value, title)
		return 0, false
	}
	return int(id), true
}

func (e *engine) options(r *deliver.Request, rcpt dsn.Recipient, mbox bool) mailbox.CopyOptions {
	o := mailbox.CopyOptions{ReturnPath: true, DeliveredTo: rcpt.Address, From: mbox, Quote: mbox, Blank: mbox}
	if e.originalRecipient {
		o.OriginalTo = rcpt.Original
	}
	return o
}

func probing(r *deliver.Request) bool {
	return r.Flags&(outcome.FlagProbe|outcome.FlagUserProbe) != 0
}

func (e *engine) maildir(r *deliver.Request, rcpt dsn.Recipient, at outcome.Attempt, path string, uid, gid int) outcome.Result {
	if probing(r) {
		return r.Sent(rcpt, at, dsn.DSN{Status: "2.0.0", Reason: "delivers to maildir"})
	}
	var d dsn.DSN
	err := account.AsUser(uid, gid, []int{gid}, func() (err error) {
		d, err = mailbox.DeliverMaildir(r, path, e.options(r, rcpt, false), "4.2.0", e.limit)
		return err
	})
	if err == nil {
		return r.Sent(rcpt, at, dsn.DSN{Status: "2.0.0", Reason: "delivered to maildir"})
	}
	if d.Status == "" {
		d = dsn.DSN{Status: mailbox.Status(err, "4.2.0"), Reason: "maildir delivery failed: " + syserr.Text(err)}
	}
	return e.failed(r, rcpt, at, d, err)
}

func (e *engine) mbox(r *deliver.Request, rcpt dsn.Recipient, at outcome.Attempt, path string, uid, gid int) outcome.Result {
	if probing(r) {
		return r.Sent(rcpt, at, dsn.DSN{Status: "2.0.0", Reason: "delivers to mailbox"})
	}
	special := false
	err := account.AsUser(uid, gid, []int{gid}, func() error {
		m, err := mailbox.OpenMbox(path, e.locking, "4.2.0", false)
		if err != nil {
			return err
		}
		defer m.Close()
		if special = !m.Info.Mode().IsRegular(); special {
			return errors.New("not a regular file")
		}
		if st, ok := m.Info.Sys().(*syscall.Stat_t); ok && e.strictOwnership && int(st.Uid) != uid {
			maillog.Warnf("specify \"strict_mailbox_ownership = no\" to ignore mailbox ownership mismatch")
			return &mailbox.OpenError{Reason: fmt.Sprintf("destination %s is not owned by recipient", path), Status: "4.2.0"}
		}
		_, err = m.Append(r, e.options(r, rcpt, true), e.limit)
		return err
	})
	if err == nil {
		return r.Sent(rcpt, at, dsn.DSN{Status: "2.0.0", Reason: "delivered to mailbox"})
	}
	if special {
		maillog.Warnf("recipient %s: destination %s is not a regular file", rcpt.Address, path)
		return r.Bounce(rcpt, at, dsn.DSN{Status: "5.3.5", Reason: "mail system configuration error"})
	}
	d := dsn.DSN{Status: mailbox.Status(err, "4.2.0"), Reason: syserr.Text(err)}
	var open *mailbox.OpenError
	var copying *mailbox.CopyError
	if errors.As(err, &open) {
		d = dsn.DSN{Status: open.Status, Reason: open.Reason}
	} else if errors.As(err, &copying) {
		d = copying.DSN()
	}
	d.Reason = fmt.Sprintf("delivery failed to mailbox %s: %s", path, d.Reason)
	return e.failed(r, rcpt, at, d, err)
}

func (e *engine) failed(r *deliver.Request, rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN, err error) outcome.Result {
	var copying *mailbox.CopyError
	if errors.As(err, &copying) && copying.Corrupt {
		r.MarkCorrupt(r.QueueName + "/" + r.QueueID)
		return outcome.Retry
	}
	if dsn.Class(d.Status) == '4' {
		return r.Defer(rcpt, at, d)
	}
	return r.Bounce(rcpt, at, d)
}
