// Package localdelivery is the engine of local(8): aliases, .forward files,
// include files, mailboxes, commands, and mail sent on to other addresses
// (spec delivery §8).
package localdelivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/config"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/mailbox"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
	"suffix/pkg/outcome"
	"suffix/pkg/params"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/table"
)

// maxDepth bounds every kind of nesting.
const maxDepth = 100

// settings are the parameters of local(8).
type settings struct {
	service string // our own transport name

	aliases, filterMaps                                   *maps.Maps
	mailboxTransports, mailboxCommands, fallbackTransport *maps.Maps
	extension                                             maps.Extension

	forwardPath       string
	luserRelay        string
	mailboxCommand    string
	mailboxTransport  string
	fallback          string
	homeMailbox       string
	spool             string
	shell             string
	execDir           string
	forwardFilter     string
	commandFilter     string
	execDirFilter     string
	env               []string
	locking           mailbox.Locking
	sizeLimit         int64
	timeLimit         time.Duration
	ipcTimeout        time.Duration
	duplicateLimit    int
	tokenLimit        int
	lineLimit         int
	privileges        account.User
	allowedCommands   map[origin]bool
	allowedFiles      map[origin]bool
	propagate         map[string]bool
	prependDelivered  map[string]bool
	expandOwner       bool
	resetOwner        bool
	ownerRequest      bool
	frozenDelivered   bool
	originalRecipient bool
	requireHome       bool
	strictOwnership   bool
	biff              bool
	dialect37         bool
}

// An Agent delivers to local recipients.
type Agent struct {
	settings
	cfg     *config.Main
	rewrite *rewriteclient.Client
}

// New reads the parameters of local(8) and opens its tables. It runs as root,
// before any client is served.
func New(cfg *config.Main, service string) (*Agent, error) {
	a := &Agent{cfg: cfg, rewrite: rewriteclient.New(cfg)}
	s := &a.settings
	options := table.Options{Config: cfg, Flags: table.Reader}
	secure := options
	secure.Flags |= table.NoRegSub | table.NoProxy | table.NoUnauth
	s.service = service
	s.aliases = maps.Open("alias_maps", cfg.String(params.AliasMaps), secure)
	s.mailboxTransports = maps.Open("mailbox_transport_maps", cfg.String(params.MailboxTransportMaps), secure)
	s.mailboxCommands = maps.Open("mailbox_command_maps", cfg.String(params.MailboxCommandMaps), secure)
	s.fallbackTransport = maps.Open("fallback_transport_maps", cfg.String(params.FallbackTransportMaps), secure)
	s.filterMaps = maps.Open("local_delivery_status_filter", cfg.String(params.LocalDeliveryStatusFilter), options)
	s.extension = maps.ExtensionFrom(cfg)

	s.forwardPath = cfg.Raw(params.ForwardPath)
	s.luserRelay = cfg.Raw(params.LuserRelay)
	s.mailboxCommand = cfg.Raw(params.MailboxCommand)
	s.mailboxTransport = cfg.String(params.MailboxTransport)
	s.fallback = cfg.String(params.FallbackTransport)
	s.homeMailbox = cfg.String(params.HomeMailbox)
	s.spool = cfg.String(params.MailSpoolDirectory)
	s.shell = cfg.String(params.LocalCommandShell)
	s.execDir = cfg.Raw(params.CommandExecutionDirectory)
	s.forwardFilter = cfg.String(params.ForwardExpansionFilter)
	s.commandFilter = cfg.String(params.CommandExpansionFilter)
	s.execDirFilter = cfg.String(params.ExecutionDirectoryExpansionFilter)
	s.env = mailbox.ExportEnvironment(config.SplitBrace(cfg.String(params.ExportEnvironment)))
	s.sizeLimit = cfg.Long(params.MailboxSizeLimit)
	s.timeLimit = cfg.Time(params.CommandTimeLimit)
	s.ipcTimeout = cfg.Time(params.IpcTimeout)
	s.duplicateLimit = cfg.Int(params.DuplicateFilterLimit)
	s.tokenLimit = cfg.Int(params.HeaderAddressTokenLimit)
	s.lineLimit = cfg.Int(params.LineLengthLimit)
	s.expandOwner = cfg.Bool(params.ExpandOwnerAlias)
	s.resetOwner = cfg.Bool(params.ResetOwnerAlias)
	s.ownerRequest = cfg.Bool(params.OwnerRequestSpecial)
	s.frozenDelivered = cfg.Bool(params.FrozenDeliveredTo)
	s.originalRecipient = cfg.Bool(params.EnableOriginalRecipient)
	s.requireHome = cfg.Bool(params.RequireHomeDirectory)
	s.strictOwnership = cfg.Bool(params.StrictMailboxOwnership)
	s.biff = cfg.Bool(params.Biff)
	s.dialect37 = cfg.Dialect37()
	if err := s.readLists(cfg); err != nil {
		return nil, err
	}
	return a, s.checkLimits(cfg)
}

func (s *settings) readLists(cfg *config.Main) (err error) {
	if s.allowedCommands, err = origins(cfg, params.AllowMailToCommands); err != nil {
		return err
	}
	if s.allowedFiles, err = origins(cfg, params.AllowMailToFiles); err != nil {
		return err
	}
	if s.propagate, err = words(cfg, params.PropagateUnmatchedExtensions, "canonical", "virtual", "alias", "forward", "include", "generic"); err != nil {
		return err
	}
	if s.prependDelivered, err = words(cfg, params.PrependDeliveredHeader, "command", "file", "forward"); err != nil {
		return err
	}
	if s.locking, err = mailbox.ParseLocking("mailbox_delivery_lock", cfg.String(params.MailboxDeliveryLock)); err != nil {
		return err
	}
	if cfg.Bool(params.SunMailtoolCompatibility) {
		maillog.Warnf("sun_mailtool_compatibility: deprecated parameter, use \"mailbox_delivery_lock = dotlock\" instead")
		s.locking.Flock, s.locking.Fcntl = false, false
	}
	if !s.locking.Flock && !s.locking.Fcntl && !s.locking.Dotlock {
		return errors.New("parameter mailbox_delivery_lock specifies no applicable mailbox locking method")
	}
	s.locking.Attempts = cfg.Int(params.DeliverLockAttempts)
	s.locking.Delay = cfg.Time(params.DeliverLockDelay)
	s.locking.Stale = cfg.Time(params.StaleLockTime)
	return s.readPrivileges(cfg)
}

// readPrivileges looks up default_privs, "user[:group]", with which commands
// and files without an owner are handled.
func (s *settings) readPrivileges(cfg *config.Main) error {
	name, group, hasGroup := strings.Cut(cfg.String(params.DefaultPrivs), ":")
	user, err := account.Lookup(name)
	if err != nil {
		return fmt.Errorf("file %s/main.cf: parameter default_privs: unknown user name value: %s", cfg.Dir(), name)
	}
	s.privileges = *user
	if hasGroup && group != "" {
		g, err := account.LookupGroup(group)
		if err != nil {
			return fmt.Errorf("file %s/main.cf: parameter default_privs: unknown group name value: %s", cfg.Dir(), group)
		}
		s.privileges.GID = g.GID
	}
	if s.privileges.UID == 0 {
		return fmt.Errorf("file %s/main.cf: parameter default_privs: user %s has privileged user ID", cfg.Dir(), name)
	}
	return nil
}

func (s *settings) checkLimits(cfg *config.Main) error {
	message := cfg.Long(params.MessageSizeLimit)
	switch {
	case s.sizeLimit > 0 && message <= 0:
		return errors.New("configuration error: mailbox_size_limit is limited but message_size_limit is unlimited")
	case s.sizeLimit > 0 && s.sizeLimit < message:
		return errors.New("configuration error: mailbox_size_limit is smaller than message_size_limit")
	}
	return nil
}

func origins(cfg *config.Main, id params.String) (map[origin]bool, error) {
	set, err := words(cfg, id, "alias", "forward", "include")
	if err != nil {
		return nil, err
	}
	return map[origin]bool{fromAlias: set["alias"], fromForward: set["forward"], fromInclude: set["include"], fromNone: true}, nil
}

func words(cfg *config.Main, id params.String, known ...string) (map[string]bool, error) {
	set := make(map[string]bool)
	for _, word := range cfg.List(id) {
		found := false
		for _, k := range known {
			found = found || strings.EqualFold(k, word)
		}
		if !found {
			return nil, fmt.Errorf("unknown %s value \"%s\" in \"%s\"", params.Of(id).Name, word, cfg.String(id))
		}
		set[strings.ToLower(word)] = true
	}
	return set, nil
}

// Filter returns the delivery status filter.
func (a *Agent) Filter() *maps.Maps { return a.filterMaps }

// Changed names a table that changed on disk.
func (a *Agent) Changed() (string, bool) {
	for _, m := range []*maps.Maps{a.aliases, a.mailboxTransports, a.mailboxCommands, a.fallbackTransport, a.filterMaps} {
		if name, changed := m.Changed(); changed {
			return name, true
		}
	}
	return "", false
}

// Deliver handles one delivery request.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) dsn.DSN {
	loops, err := mailbox.DeliveredTo(r)
	if err != nil {
		maillog.Warnf("%s: %v", r.QueueID, err)
		r.KeepForRetry()
		return dsn.DSN{}
	}
	for _, rcpt := range r.Recipients {
		d := &delivery{Agent: a, ctx: ctx, req: r, loops: loops, top: rcpt, seen: newFilter(a.duplicateLimit)}
		if d.run() == outcome.Done {
			r.MarkDone(rcpt)
		} else {
			r.KeepForRetry()
		}
	}
	return dsn.DSN{}
}

// run delivers to one recipient of the request. Whatever happens, no forwarded
// message is left half-way.
func (d *delivery) run() outcome.Result {
	defer func() {
		for _, f := range d.forwards {
			f.stream.Abort()
		}
	}()
	return d.finish(d.recipient(state{
		sender: d.req.Sender, rcpt: d.top, envelopeID: d.req.EnvelopeID, ret: d.req.Ret,
	}))
}

// filter remembers what was already delivered to (duplicate_filter_limit). A
// full filter stops growing.
type filter struct {
	seen  map[string]bool
	limit int
}

func newFilter(limit int) *filter { return &filter{make(map[string]bool), limit} }

// duplicate says whether key was seen before, and remembers it.
func (f *filter) duplicate(kind, key string) bool {
	key = kind + "\x00" + strings.ToLower(key)
	if f.seen[key] {
		return true
	}
	if f.limit == 0 || len(f.seen) < f.limit {
		f.seen[key] = true
	}
	return false
}
