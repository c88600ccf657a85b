// Package tlsmgr is the tlsmgr(8) daemon: it serves what the TLS engines of
// several processes must share: seeds for their random generators, session
// ticket keys, and TLS session caches.
//
// The databases of session caches start empty with each run of the daemon.
//
// It talks to nobody else. It reads smtpd_tls_session_cache_database and
// smtpd_tls_session_cache_timeout, the same for smtp and lmtp, data_directory,
// mail_owner, tls_random_exchange_name and tls_random_prng_update_period.
package tlsmgr

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/attr"
	"suffix/pkg/cache"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/service"

	_ "suffix/pkg/alltables"
)

// Main runs the daemon.
func Main() {
	var m *manager
	service.Run(service.Daemon{
		Program:   "tlsmgr",
		Kind:      service.Multi,
		Limit:     service.LimitOne,
		NoMaxUse:  true,
		NoMaxIdle: true,
		Setup: func(p *service.Process) (err error) {
			if m, err = newManager(p.Config); err != nil {
				return err
			}
			// Here, because it may be out of reach in a chroot jail.
			owner, err := account.Lookup(p.Config.String(params.MailOwner))
			if err != nil {
				return err
			}
			return account.WithFileRights(owner, func() (err error) {
				m.exchange, err = openExchange(p.Config.String(params.TlsRandomExchangeName))
				return err
			})
		},
		Ready: func(p *service.Process) error {
			m.start()
			go m.exchange.updateFrom(p.Config.Time(params.TlsRandomPrngUpdatePeriod))
			return nil
		},
		Serve: func(_ context.Context, _ *service.Process, c *service.Conn) { m.serve(c.Conn) },
		Exit: func(*service.Process) {
			m.close()
			m.exchange.update()
		},
	})
}

// Values of status.
const (
	statusOK       = 0
	statusFailed   = -1
	statusProtocol = -2
)

// manager holds what the clients share.
type manager struct {
	caches   map[string]*sessionCache
	tickets  *ticketKeys
	exchange *exchange
	stop     context.CancelFunc
}

// Limits of session cache timeouts (spec screen §18.1).
const (
	minimumTimeout = 120 * time.Second
	maximumTimeout = 100 * 24 * time.Hour
)

func newManager(cfg *config.Main) (*manager, error) {
	m := &manager{caches: make(map[string]*sessionCache)}
	databases := make(map[string]string)
	for _, c := range []struct {
		name     string
		database params.String
		timeout  params.Time
	}{
		{"smtpd", params.SmtpdTlsSessionCacheDatabase, params.SmtpdTlsSessionCacheTimeout},
		{"smtp", params.SmtpTlsSessionCacheDatabase, params.SmtpTlsSessionCacheTimeout},
		{"lmtp", params.LmtpTlsSessionCacheDatabase, params.LmtpTlsSessionCacheTimeout},
	} {
		timeout := min(cfg.Time(c.timeout), maximumTimeout)
		if timeout > 0 {
			timeout = max(timeout, minimumTimeout)
		}
		database := cfg.String(c.database)
		if other, used := databases[database]; used && database != "" {
			return nil, fmt.Errorf("do not use the same TLS cache file %s for %s and %s", database, other, c.name)
		}
		databases[database] = c.name
		var store *cache.Cache
		if database != "" && timeout > 0 {
			var err error
			store, err = cache.Open(database, cache.Options{Config: cfg, Perm: 0o600, Truncate: true})
			var locked *cache.LockedError
			if errors.As(err, &locked) {
				return nil, err
			}
			if err != nil {
				maillog.Warnf("%s_tls_session_cache_database: %s -- no sessions are kept", c.name, err)
				store = nil
			}
		}
		m.caches[c.name] = newSessionCache(c.name, store, timeout)
		if c.name == "smtpd" {
			m.tickets = newTicketKeys(timeout)
		}
	}
	return m, nil
}

// start opens the databases, with the rights of mail_owner.
func (m *manager) start() {
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	for _, c := range m.caches {
		if c.store != nil {
			c.store.Start()
			go c.sweepFrom(ctx)
		}
	}
}

func (m *manager) close() {
	m.stop()
	for _, c := range m.caches {
		if c.store == nil {
			continue
		}
		if err := c.store.Close(); err != nil {
			maillog.Warnf("%s TLS cache: %v", c.label, err)
		}
	}
}

// serve answers the requests of one client.
func (m *manager) serve(c *attr.Conn) {
	if c.W.Str("protocol", "tlsmgr_protocol").End() != nil {
		return
	}
	// A wakeup call of master is not a request.
	if first, err := c.R.Buffered().Peek(1); err != nil || first[0] == 'W' {
		return
	}
	for {
		if c.AwaitRequest() != nil {
			return
		}
		request, err := c.R.Str("request")
		if errors.Is(err, attr.ErrEOF) {
			return
		}
		if err != nil {
			maillog.Warnf("%v", err)
			c.W.Int("status", statusProtocol).End()
			return
		}
		ok := m.answer(c, request)
		if !ok || c.W.End() != nil {
			return
		}
	}
}

// answer puts the reply to a request into the connection's buffer. It returns
// false for a request that is not answered.
func (m *manager) answer(c *attr.Conn, request string) bool {
	switch request {
	case "seed":
		size, _ := c.R.Int("size")
		m.seed(c, size, c.R.End())
	case "policy":
		name, _ := c.R.Str("cache_type")
		m.policy(c, name, c.R.End())
	case "lookup":
		name, _ := c.R.Str("cache_type")
		id, _ := c.R.Str("cache_id")
		session, status := []byte(nil), statusProtocol
		if cache, ok := m.usable(name, "lookup", c.R.End()); ok {
			if session, ok = cache.lookup(id); ok {
				status = statusOK
			} else {
				status = statusFailed
			}
		}
		c.W.Int("status", status).Data("session", session)
	case "update":
		name, _ := c.R.Str("cache_type")
		id, _ := c.R.Str("cache_id")
		session, _ := c.R.Data("session")
		status := statusProtocol
		if cache, ok := m.usable(name, "update", c.R.End()); ok {
			cache.update(id, session)
			status = statusOK
		}
		c.W.Int("status", status)
	case "delete":
		name, _ := c.R.Str("cache_type")
		id, _ := c.R.Str("cache_id")
		status := statusProtocol
		if cache, ok := m.usable(name, "delete", c.R.End()); ok {
			status = statusFailed
			if cache.delete(id) {
				status = statusOK
			}
		}
		c.W.Int("status", status)
	case "tktkey":
		name, _ := c.R.Data("keyname")
		m.ticketKey(c, name, c.R.End())
	default:
		maillog.Warnf("unknown tlsmgr request: \"%s\"", maillog.Printable(request))
		return false
	}
	return true
}

// usable returns the cache of a type, if there is one.
func (m *manager) usable(name, request string, err error) (*sessionCache, bool) {
	if err != nil {
		maillog.Warnf("%v", err)
		return nil, false
	}
	cache := m.caches[name]
	if cache == nil {
		maillog.Warnf("bogus cache type \"%s\" in \"%s\" request", maillog.Printable(name), request)
		return nil, false
	}
	return cache, cache.store != nil
}

func (m *manager) policy(c *attr.Conn, name string, err error) {
	cachable, timeout, status := 0, 0, statusProtocol
	if err == nil && m.caches[name] != nil {
		cache := m.caches[name]
		timeout, status = int(cache.timeout/time.Second), statusOK
		if cache.store != nil {
			cachable = 1
		}
	} else {
		m.usable(name, "policy", err)
	}
	c.W.Int("status", status).Int("cachable", cachable).Int("timeout", timeout)
}

func (m *manager) seed(c *attr.Conn, size int, err error) {
	switch {
	case err != nil:
		maillog.Warnf("%v", err)
	case size < 1 || size > 255:
		maillog.Warnf("bogus seed length \"%d\" in \"seed\" request", size)
	default:
		b := make([]byte, size)
		if _, err := rand.Read(b); err != nil {
			maillog.Warnf("no random data: %v", err)
			c.W.Int("status", statusFailed).Data("seed", nil)
			return
		}
		c.W.Int("status", statusOK).Data("seed", b)
		return
	}
	c.W.Int("status", statusProtocol).Data("seed", nil)
}

func (m *manager) ticketKey(c *attr.Conn, name []byte, err error) {
	switch {
	case err != nil:
		maillog.Warnf("%v", err)
	case len(name) != 0 && len(name) != keyNameSize:
		maillog.Warnf("invalid session ticket key name length: %d", len(name))
	default:
		key, err := m.tickets.find(name, time.Now())
		if err != nil {
			maillog.Warnf("session ticket key: %v", err)
		}
		if key == nil {
			c.W.Int("status", statusFailed).Data("keybuf", name)
			return
		}
		c.W.Int("status", statusOK).Data("keybuf", key.encode())
		return
	}
	c.W.Int("status", statusProtocol).Data("keybuf", nil)
}
