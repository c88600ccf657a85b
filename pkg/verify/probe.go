package verify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/syserr"
)

// A sender is the envelope sender of probes; one that changes with time is of
// no use to those who collect addresses.
type sender struct {
	addr string        // internal form, empty: the null sender
	ttl  time.Duration // how long one form is used, 0: always
}

func newSender(cfg *config.Main) (sender, error) {
	s := sender{addr: cfg.String(params.AddressVerifySender), ttl: cfg.Time(params.AddressVerifySenderTtl)}
	if s.addr == "<>" {
		s.addr = ""
	}
	for _, bad := range []struct {
		found bool
		where string
	}{{strings.HasPrefix(s.addr, "@"), "start"}, {strings.HasSuffix(s.addr, "@"), "end"}} {
		if bad.found {
			return s, fmt.Errorf("parameter address_verify_sender: value \"%s\" must not %s with '@'", s.addr, bad.where)
		}
	}
	return s, nil
}

// digits of a time stamp: letters that do not make words.
const digits = "0123456789BCDFGHJKLMNPQRSTVWXYZ"

// at returns the sender for a time; canonical is its standard form.
func (s sender) at(canonical string, now time.Time) string {
	if s.ttl <= 0 || canonical == "" {
		return canonical
	}
	n := now.Unix() / int64(s.ttl/time.Second)
	var stamp []byte
	for ; n > 0; n /= int64(len(digits)) {
		stamp = append([]byte{digits[n%int64(len(digits))]}, stamp...)
	}
	local, domain, ok := address.Split(canonical)
	if !ok {
		return local + string(stamp)
	}
	return local + string(stamp) + "@" + domain
}

// traceProbe marks a message as a probe.
const traceProbe = 256

// probePatience bounds the submission of a probe. One that is lost is made
// again later.
const probePatience = probeTimeout * time.Second

// maxProbes is how many probes may be on their way to cleanup: strangers cause
// them, and cleanup may be slow.
const maxProbes = 100

// A prober submits probe messages.
type prober struct {
	cfg    *config.Main
	e      *Engine
	client *rewriteclient.Client
	slots  chan struct{} // one for each probe on its way
}

// start submits a probe in the background, unless too many are on their way:
// the next query will ask again.
func (p *prober) start(addr string) bool {
	select {
	case p.slots <- struct{}{}:
	default:
		return false
	}
	go func() {
		defer func() { <-p.slots }()
		// A panic here would end the whole process, and with it what others
		// have found out.
		defer func() {
			if reason := recover(); reason != nil {
				p.e.log.Logf(maillog.Panic, "probe for %s: %v", addr, reason)
			}
		}()
		p.send(addr)
	}()
	return true
}

// send submits a probe for an address in internal form. Trouble is logged.
func (p *prober) send(addr string) {
	ctx, cancel := context.WithTimeout(context.Background(), probePatience)
	defer cancel()
	service := p.cfg.String(params.CleanupServiceName)
	from, err := p.from(ctx)
	if err != nil {
		p.e.log.Warnf("probe for %s: %s", addr, syserr.Text(err))
		return
	}
	stream, err := cleanupclient.PostMail(ctx, p.cfg, cleanupclient.Mail{
		Sender: from, Recipient: addr, Class: cleanupclient.ClassVerify, TraceFlags: traceProbe,
	})
	switch {
	case ctx.Err() != nil:
		p.e.log.Warnf("timeout connecting to service: %s", service)
		return
	case err != nil:
		p.e.log.Warnf("connect to service: %s: %s", service, syserr.Text(err))
		return
	}
	if status, _, err := cleanupclient.EndMail(stream); err != nil || status != 0 {
		p.e.log.Warnf("error talking to service: %s", service)
	}
}

func (p *prober) from(ctx context.Context) (string, error) {
	if p.e.sender.addr == "" {
		return "", nil
	}
	p.e.mu.Lock()
	if p.client == nil {
		p.client = rewriteclient.New(p.cfg)
	}
	client := p.client
	p.e.mu.Unlock()
	standard, err := canonical(ctx, func(ctx context.Context, external string) (string, error) {
		return client.Rewrite(ctx, rewriteclient.Local, external)
	}, p.e.sender.addr)
	if err != nil {
		return "", err
	}
	return p.e.sender.at(standard, time.Now()), nil
}
