// Package localdomain tells which domains are this machine itself: those in
// mydestination, and [address] literals with an address of our own or of a
// proxy in front of us (spec qmgr §13, config §8).
package localdomain

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"suffix/pkg/config"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
)

// A Set answers for one configuration. It is safe for concurrent use.
type Set struct {
	cfg    *config.Main
	list   *matchlist.List
	origin string

	once      sync.Once
	addresses []netip.Addr
	err       error
}

// New reads mydestination, inet_interfaces, proxy_interfaces and myorigin.
func New(cfg *config.Main) *Set {
	return &Set{
		cfg:    cfg,
		list:   matchlist.New("mydestination", cfg.String(params.Mydestination), matchlist.String, matchlist.Options{Config: cfg}),
		origin: cfg.String(params.Myorigin),
	}
}

// Contains says whether mail for the domain is ours to deliver.
func (s *Set) Contains(domain string) (bool, error) {
	domain = strings.TrimSuffix(domain, ".")
	if ok, err := s.list.Match(domain); ok || err != nil {
		return ok, err
	}
	literal, isLiteral := strings.CutPrefix(domain, "[")
	literal, closed := strings.CutSuffix(literal, "]")
	if !isLiteral || !closed {
		return false, nil
	}
	if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
		literal = literal[5:]
	}
	addr, err := netip.ParseAddr(literal)
	if err != nil {
		return false, nil
	}
	s.once.Do(s.readAddresses)
	return slices.Contains(s.addresses, addr), s.err
}

func (s *Set) readAddresses() {
	own, err := s.cfg.OwnAddresses()
	if err != nil {
		s.err = err
		return
	}
	proxy, err := s.cfg.ProxyAddresses()
	s.addresses, s.err = append(own, proxy...), err
}

// Bare says whether tables may list users of the domain by their localpart
// alone: it is $myorigin, or one of ours.
func (s *Set) Bare(domain string) (bool, error) {
	if strings.EqualFold(domain, s.origin) {
		return true, nil
	}
	return s.Contains(domain)
}

// Changed names a table that changed on disk.
func (s *Set) Changed() (string, bool) { return s.list.Changed() }
