package smtpserver

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"suffix/pkg/dnsclient"
	"suffix/pkg/smtpaccess"
)

// identify finds out who the client is (spec smtpd §2). An error means that
// the session must not begin.
func (s *session) identify(pass map[string]string) error {
	c := &s.access.Client
	*c = smtpaccess.Client{
		Name: smtpaccess.Unknown, NameStatus: smtpaccess.NamePermanent,
		ReverseName: smtpaccess.Unknown, ReverseStatus: smtpaccess.NamePermanent,
		Address: smtpaccess.Unknown, Port: smtpaccess.Unknown,
		ServerAddress: smtpaccess.Unknown, ServerPort: smtpaccess.Unknown,
	}
	defer func() { c.SetLogName(s.set.portLogging) }()
	if len(pass) > 0 {
		s.handedOver = true
		return s.identifyPassed(pass)
	}
	remote, isTCP := s.conn.RemoteAddr().(*net.TCPAddr)
	if !isTCP {
		protocols := s.set.cfg.Protocols()
		c.Name, c.NameStatus = "localhost", smtpaccess.NameOK
		c.ReverseName, c.ReverseStatus = "localhost", smtpaccess.NameOK
		c.IP = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if !protocols.IPv4 && protocols.IPv6 {
			c.IP = netip.IPv6Loopback()
		}
		c.Address, c.Port = c.IP.String(), "0"
		c.ServerAddress, c.ServerPort = c.Address, "0"
		return nil
	}
	c.IP = remote.AddrPort().Addr().Unmap().WithZone("")
	c.Address, c.Port = c.IP.String(), strconv.Itoa(remote.Port)
	if local, ok := s.conn.LocalAddr().(*net.TCPAddr); ok {
		c.ServerAddress = local.AddrPort().Addr().Unmap().WithZone("").String()
		c.ServerPort = strconv.Itoa(local.Port)
	}
	s.lookupName()
	return nil
}

// identifyPassed takes the endpoints from the attributes that postscreen sends
// with a connection.
func (s *session) identifyPassed(pass map[string]string) error {
	c := &s.access.Client
	addr := func(attribute, who string) (netip.Addr, bool) {
		text, ok := pass[attribute]
		if !ok || text == "" {
			s.warnf("missing %s address from proxy", who)
			return netip.Addr{}, false
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			family := "IPv4"
			if strings.Contains(text, ":") {
				family = "IPv6"
			}
			s.warnf("bad %s %s address syntax from proxy: %s", family, who, text)
			return netip.Addr{}, false
		}
		return ip.Unmap(), true
	}
	port := func(attribute, who string) (string, bool) {
		text, ok := pass[attribute]
		if !ok || text == "" {
			s.warnf("missing %s port from proxy", who)
			return "", false
		}
		if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 {
			s.warnf("bad TCP %s port number syntax from proxy: %s", who, text)
			return "", false
		}
		return text, true
	}
	clientAddr, ok1 := addr("client_address", "client")
	if !ok1 {
		return errors.New("bad hand-over")
	}
	clientPort, ok2 := port("client_port", "client")
	if !ok2 {
		return errors.New("bad hand-over")
	}
	serverAddr, ok3 := addr("server_address", "server")
	if !ok3 {
		return errors.New("bad hand-over")
	}
	serverPort, ok4 := port("server_port", "server")
	if !ok4 {
		return errors.New("bad hand-over")
	}
	c.IP, c.Address, c.Port = clientAddr, clientAddr.String(), clientPort
	c.ServerAddress, c.ServerPort = serverAddr.String(), serverPort
	s.lookupName()
	return nil
}

// lookupName finds the name of the client and makes sure that it leads back to
// the address (spec smtpd §2.2).
func (s *session) lookupName() {
	c := &s.access.Client
	if !s.set.peernameLookup || s.srv.Resolver == nil {
		return
	}
	name, err := s.srv.Resolver.NativeName(s.ctx, c.IP)
	if err == nil && dnsclient.CheckHostname(name) != "" {
		if _, numeric := netip.ParseAddr(name); numeric == nil {
			s.warnf("numeric hostname: %s", name)
		}
		return
	}
	if err != nil {
		c.NameStatus = nativeStatus(err, smtpaccess.NamePermanent)
		c.ReverseStatus = c.NameStatus
		return
	}
	c.ReverseName, c.ReverseStatus = name, smtpaccess.NameOK
	addrs, err := s.srv.Resolver.NativeAddrs(s.ctx, name)
	if err != nil {
		s.warnf("hostname %s does not resolve to address %s: %s", name, c.Address, err)
		c.NameStatus = nativeStatus(err, smtpaccess.NameForged)
		return
	}
	for _, addr := range addrs {
		if addr.Unmap().WithZone("") == c.IP {
			c.Name, c.NameStatus = name, smtpaccess.NameOK
			return
		}
	}
	s.warnf("hostname %s does not resolve to address %s", name, c.Address)
	c.NameStatus = smtpaccess.NameForged
}

// nativeStatus says what a failed lookup makes of a name.
func nativeStatus(err error, permanent smtpaccess.NameStatus) smtpaccess.NameStatus {
	var native *dnsclient.NativeError
	if errors.As(err, &native) && (native.Result == dnsclient.NativeAgain || native.Result == dnsclient.NativeSystem) {
		return smtpaccess.NameTemporary
	}
	return permanent
}
