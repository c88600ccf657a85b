// Package verify is the engine of verify(8): it remembers whether mail for an
// address can be delivered, and finds out by sending probes (spec delivery
// §14, ipc §10).
package verify

import (
	"context"
	"strings"
	"sync"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/table"
	"suffix/pkg/verifyclient"
)

// An Engine holds the results. It is safe for concurrent use.
type Engine struct {
	log           *maillog.Logger
	times         times
	negativeCache bool
	dialect37     bool
	cleanup       time.Duration
	sender        sender
	tableName     string // for messages about cleaning, "" in memory

	mu    sync.Mutex // held from the lookup of an entry to its update
	store store

	// now and probe are replaced by tests. A probe that cannot be sent now is
	// not started.
	now   func() time.Time
	probe func(addr string) (started bool)
}

// New reads main.cf and opens the table. A table that cannot be opened for
// update is logged, and results are kept in memory.
func New(cfg *config.Main) (*Engine, error) {
	e := &Engine{
		log: maillog.Default(),
		times: times{
			positiveExpire:  cfg.Time(params.AddressVerifyPositiveExpireTime),
			positiveRefresh: cfg.Time(params.AddressVerifyPositiveRefreshTime),
			negativeExpire:  cfg.Time(params.AddressVerifyNegativeExpireTime),
			negativeRefresh: cfg.Time(params.AddressVerifyNegativeRefreshTime),
		},
		negativeCache: cfg.Bool(params.AddressVerifyNegativeCache),
		dialect37:     cfg.Dialect37(),
		cleanup:       cfg.Time(params.AddressVerifyCacheCleanupInterval),
		store:         &memory{m: make(map[string]string)},
		now:           time.Now,
	}
	var err error
	if e.sender, err = newSender(cfg); err != nil {
		return nil, err
	}
	p := &prober{cfg: cfg, e: e, slots: make(chan struct{}, maxProbes)}
	e.probe = p.start
	if name := cfg.String(params.AddressVerifyMap); name != "" {
		t := table.Open(name, table.Options{Mode: table.ReadWrite, Config: cfg, Perm: 0o644,
			Flags: table.ReplaceDup | table.SyncUpdate | table.OpenLock | table.UTF8Request})
		if err := t.Err(); err != nil {
			e.log.Warnf("address_verify_map: %s -- keeping results in memory, until this process ends", err)
		} else {
			e.store, e.tableName = t, t.Name()
		}
	}
	return e, cfg.Err()
}

// InMemory says that results are lost with the process, which should live long.
func (e *Engine) InMemory() bool { return e.tableName == "" }

// tableKey is the form in which an address is a key: as it is, but it cannot be
// taken for something else.
func tableKey(addr string) string {
	return maillog.Printable(strings.ReplaceAll(addr, ":", "_"))
}

// Query returns what is known about an address, and starts a probe when
// nothing is, or when it is time to ask again.
func (e *Engine) Query(addr string) (verifyclient.Verdict, string) {
	key := tableKey(addr)
	now := e.now().Unix()
	e.mu.Lock()
	defer e.mu.Unlock()
	value, found, err := e.store.Lookup(key)
	if err != nil {
		e.log.Warnf("%s: lookup of %s: %s", e.tableName, key, err)
		if !e.dialect37 {
			return verifyclient.Deferred, "Address verification status unavailable"
		}
	}
	known := fresh
	if found {
		known, err = parseEntry(value)
		if err != nil {
			e.log.Warnf("bad address verify table entry: %.100s", value)
			known = fresh
		} else if !known.waiting(now) && known.expired(&e.times, now) {
			known = fresh
			if !e.negativeCache {
				e.delete(key)
			}
		}
	}
	if !known.waiting(now) && known.stale(&e.times, now) && e.probe(addr) {
		if known.updated != 0 || e.negativeCache {
			stored := known
			stored.probed = now
			e.update(key, stored)
		}
	}
	return known.verdict, known.text
}

// Update stores the outcome of a probe: Deliverable, Deferred or Undeliverable.
// A bad result does not replace a good one, which only ages.
func (e *Engine) Update(addr string, verdict verifyclient.Verdict, text string) {
	key := tableKey(addr)
	e.mu.Lock()
	defer e.mu.Unlock()
	if verdict != verifyclient.Deliverable {
		if value, found, err := e.store.Lookup(key); found && err == nil {
			if old, err := parseEntry(value); err == nil && old.verdict == verifyclient.Deliverable {
				return
			}
		}
	}
	e.update(key, entry{verdict: verdict, updated: e.now().Unix(), text: maillog.Printable(text)})
}

func (e *Engine) update(key string, value entry) {
	if err := e.store.Update(key, value.String()); err != nil {
		e.log.Warnf("%s: update of %s: %s", e.tableName, key, err)
	}
}

func (e *Engine) delete(key string) {
	if _, err := e.store.Delete(key); err != nil {
		e.log.Warnf("%s: delete of %s: %s", e.tableName, key, err)
	}
}

// canonical gives an address in internal form its standard form.
func canonical(ctx context.Context, rewrite func(context.Context, string) (string, error), addr string) (string, error) {
	external, err := rewrite(ctx, address.Quote(addr))
	if err != nil {
		return "", err
	}
	return address.Unquote(external), nil
}
