// Package rewriteclient asks trivial-rewrite(8) for the standard form of an
// address and for the place where its mail goes (spec ipc §9, qmgr §13).
//
// A Client talks to the service private/rewrite, over as many connections as
// there are calls in progress. A daemon that holds the resolver itself sets
// InProcess, and every Client of the process answers without a round trip.
// Answers of the service are remembered for a few seconds.
package rewriteclient

import (
	"context"
	"fmt"
	"strings"

	"suffix/pkg/attr"
)

// A Rule says which settings complete an address.
type Rule string

const (
	Local  Rule = "local"  // $myorigin, $mydomain: envelope addresses and mail of our own
	Remote Rule = "remote" // $remote_header_rewrite_domain: header addresses of strangers
)

// Flags describe a resolved address.
type Flags int

const (
	Final  Flags = 1 << iota // defined by the protocol, never set
	Routed                   // the address contains further routing: user%domain
	Error                    // bad syntax: the address cannot be delivered
	Fail                     // a table lookup failed: defer

	ClassLocal   Flags = 0x100  // domain in mydestination, inet_interfaces, proxy_interfaces
	ClassAlias   Flags = 0x200  // domain in virtual_alias_domains
	ClassVirtual Flags = 0x400  // domain in virtual_mailbox_domains
	ClassRelay   Flags = 0x800  // domain in relay_domains
	ClassDefault Flags = 0x1000 // any other

	// ClassFinal is the set of classes whose recipients this system knows.
	ClassFinal = ClassLocal | ClassAlias | ClassVirtual
	// ClassMask selects the class bits.
	ClassMask = ClassFinal | ClassRelay | ClassDefault
)

// A Reply says where the mail for an address goes. With Error or Fail set,
// Transport and NextHop may be the texts CHANNEL NOT UPDATED and NEXTHOP NOT UPDATED.
type Reply struct {
	Transport string // master.cf service
	NextHop   string // destination as the transport wants it
	Recipient string // the address in internal (unquoted) form
	Flags     Flags
}

// An Engine answers requests inside this process.
type Engine interface {
	// Rewrite completes an address in external (quoted) form.
	Rewrite(rule Rule, address string) (string, error)
	// Resolve finds the destination of an address in internal form. With
	// verify set, the address_verify_* settings are used.
	Resolve(sender, address string, verify bool) (Reply, error)
}

// InProcess, when a daemon sets it before its first request, answers in place
// of the service.
var InProcess Engine

// A Caller runs a conversation with the rewrite service on a greeted
// connection. It returns the error of fn, or its own when it gave up.
type Caller interface {
	Call(ctx context.Context, fn func(*attr.Conn) error) error
}

// A Client asks for addresses. It is safe for concurrent use.
type Client struct {
	caller   Caller
	rewrites *recent[rewriteKey, string]
	replies  *recent[resolveKey, Reply]
}

type rewriteKey struct {
	rule    Rule
	address string
}

type resolveKey struct {
	sender, address string
	verify          bool
}

// NewWith returns a Client that reaches the service through caller.
func NewWith(caller Caller) *Client {
	return &Client{caller: caller, rewrites: newRecent[rewriteKey, string](), replies: newRecent[resolveKey, Reply]()}
}

// Rewrite returns the standard form of an address; both are in external
// (quoted) form. The error is that of ctx, or tells that the service could
// not be reached; the caller then defers.
func (c *Client) Rewrite(ctx context.Context, rule Rule, address string) (string, error) {
	if strings.IndexByte(address, 0) >= 0 {
		return "", fmt.Errorf("rewrite: null byte in address")
	}
	if InProcess != nil {
		return InProcess.Rewrite(rule, address)
	}
	key := rewriteKey{rule, address}
	if result, ok := c.rewrites.get(key); ok {
		return result, nil
	}
	result, err := c.rewrite(ctx, key)
	if err != nil {
		return "", err
	}
	c.rewrites.put(key, result)
	return result, nil
}

func (c *Client) rewrite(ctx context.Context, key rewriteKey) (result string, err error) {
	err = c.caller.Call(ctx, func(conn *attr.Conn) error {
		if err := conn.W.Str("request", "rewrite").Str("rule", string(key.rule)).Str("address", key.address).End(); err != nil {
			return err
		}
		state, err := conn.R.Int("flags")
		if err != nil {
			return err
		}
		if result, err = conn.R.Str("address"); err != nil {
			return err
		}
		if err := conn.R.End(); err != nil {
			return err
		}
		return serverState(state)
	})
	return result, err
}

// Resolve returns the destination of an address in internal form, for mail
// from the given sender (empty: the null sender).
func (c *Client) Resolve(ctx context.Context, sender, address string) (Reply, error) {
	return c.resolve(ctx, resolveKey{sender, address, false})
}

// VerifyResolve is Resolve with the address_verify_* settings, for probes.
func (c *Client) VerifyResolve(ctx context.Context, sender, address string) (Reply, error) {
	return c.resolve(ctx, resolveKey{sender, address, true})
}

func (c *Client) resolve(ctx context.Context, key resolveKey) (Reply, error) {
	if strings.IndexByte(key.address, 0) >= 0 || strings.IndexByte(key.sender, 0) >= 0 {
		return Reply{}, fmt.Errorf("resolve: null byte in address")
	}
	if InProcess != nil {
		return InProcess.Resolve(key.sender, key.address, key.verify)
	}
	if reply, ok := c.replies.get(key); ok {
		return reply, nil
	}
	reply, err := c.ask(ctx, key)
	if err != nil {
		return Reply{}, err
	}
	if reply.Flags&Fail == 0 {
		c.replies.put(key, reply)
	}
	return reply, nil
}

func (c *Client) ask(ctx context.Context, key resolveKey) (reply Reply, err error) {
	request := "resolve"
	if key.verify {
		request = "verify"
	}
	err = c.caller.Call(ctx, func(conn *attr.Conn) error {
		if err := conn.W.Str("request", request).Str("sender", key.sender).Str("address", key.address).End(); err != nil {
			return err
		}
		reply = Reply{}
		state, _ := conn.R.Int("flags")
		reply.Transport, _ = conn.R.Str("transport")
		reply.NextHop, _ = conn.R.Str("nexthop")
		reply.Recipient, _ = conn.R.Str("recipient")
		flags, _ := conn.R.Int("flags")
		reply.Flags = Flags(flags)
		if err := conn.R.End(); err != nil {
			return err
		}
		if reply.Flags&(Error|Fail) == 0 && (reply.Transport == "" || reply.Recipient == "") {
			return fmt.Errorf("unexpected empty transport or recipient in reply from %s", conn.R.Stream())
		}
		return serverState(state)
	})
	return reply, err
}

// serverState turns the state that begins every reply into an error: anything
// but 0 asks the client to connect anew.
func serverState(state int) error {
	if state != 0 {
		return fmt.Errorf("service asks to reconnect: state %d", state)
	}
	return nil
}
