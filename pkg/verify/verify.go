// Package verify is the engine of verify(8): it remembers whether mail for an
// address can be delivered, and finds out by sending probes (spec delivery
// §14, ipc §10).
package verify

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/cache"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
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

	mu    sync.Mutex // held from the lookup of an entry to its update
	cache *cache.Cache

	// now and probe are replaced by tests. A probe that cannot be sent now is
	// not started.
	now   func() time.Time
	probe func(addr string) (started bool)
}

// inMemory is the name of the cache where main.cf names none.
const inMemory = "internal:verify"

// New reads main.cf and finds the cache, which Start opens. Where that cannot
// be, the reason is logged, and results are kept in memory.
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
		now:           time.Now,
	}
	var err error
	if e.sender, err = newSender(cfg); err != nil {
		return nil, err
	}
	p := &prober{cfg: cfg, e: e, slots: make(chan struct{}, maxProbes)}
	e.probe = p.start
	name := cfg.String(params.AddressVerifyMap)
	if name == "" {
		name = inMemory
	}
	var locked *cache.LockedError
	if e.cache, err = cache.Open(name, cache.Options{Config: cfg, Perm: 0o644}); errors.As(err, &locked) {
		return nil, err
	} else if err != nil {
		e.log.Warnf("address_verify_map: %s -- keeping results in memory, until this process ends", err)
		e.cache = cache.NewMemory(inMemory)
	}
	return e, cfg.Err()
}

// Start opens the cache, with the rights of mail_owner.
func (e *Engine) Start() { e.cache.Start() }

// Close ends the use of the cache.
func (e *Engine) Close() error { return e.cache.Close() }

// InMemory says that results are lost with the process, which should live long.
func (e *Engine) InMemory() bool { return e.cache.InMemory() }

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
	value, found, err := e.cache.Lookup(key)
	if err != nil && !e.dialect37 {
		return verifyclient.Deferred, "Address verification status unavailable"
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
				e.cache.Delete(key)
			}
		}
	}
	if !known.waiting(now) && known.stale(&e.times, now) && e.probe(addr) {
		if known.updated != 0 || e.negativeCache {
			stored := known
			stored.probed = now
			e.cache.Update(key, stored.String())
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
		if value, found, err := e.cache.Lookup(key); found && err == nil {
			if old, err := parseEntry(value); err == nil && old.verdict == verifyclient.Deliverable {
				return
			}
		}
	}
	e.cache.Update(key, entry{verdict: verdict, updated: e.now().Unix(), text: maillog.Printable(text)}.String())
}

// canonical gives an address in internal form its standard form.
func canonical(ctx context.Context, rewrite func(context.Context, string) (string, error), addr string) (string, error) {
	external, err := rewrite(ctx, address.Quote(addr))
	if err != nil {
		return "", err
	}
	return address.Unquote(external), nil
}
