package smtpaccess

import (
	"context"

	"suffix/pkg/address"
	"suffix/pkg/rewriteclient"
)

// Resolve completes an address in internal form and finds its destination.
func (c *Checker) Resolve(ctx context.Context, sender, addr string) (rewriteclient.Reply, error) {
	return Resolve(ctx, c.rewrite, sender, addr)
}

// Resolve completes an address in internal form and finds its destination.
func Resolve(ctx context.Context, client *rewriteclient.Client, sender, addr string) (rewriteclient.Reply, error) {
	external, err := client.Rewrite(ctx, rewriteclient.Local, address.Quote(addr))
	if err != nil {
		return rewriteclient.Reply{}, err
	}
	return client.Resolve(ctx, sender, address.Unquote(external))
}

// resolve finds the destination of an address. Where that cannot be told, ok
// is false and the verdict refuses the request for now.
func (e *evaluation) resolve(addr string) (route rewriteclient.Reply, v verdict, ok bool) {
	route, err := e.c.Resolve(e.ctx, e.s.Tx.Sender, addr)
	if err != nil || route.Flags&rewriteclient.Fail != 0 {
		return route, e.refuse(ClassData, 451, "4.3.0", "<"+addr+">: Temporary lookup failure"), false
	}
	return route, dunno, true
}

// routed says that an address asks another system to forward the mail.
func routed(route rewriteclient.Reply) bool { return route.Flags&rewriteclient.Routed != 0 }

// authorized says that this system accepts mail for an address from anybody
// (spec smtpd-access §5).
func (e *evaluation) authorized(route rewriteclient.Reply) bool {
	_, domain, has := address.Split(route.Recipient)
	switch {
	case !has || domain == "":
		return true
	case routed(route) && !e.c.allowUntrustedRouting:
		return false
	}
	e.noteRelayDomain(route, "domain", "")
	return route.Flags&(rewriteclient.ClassFinal|rewriteclient.ClassRelay) != 0
}
