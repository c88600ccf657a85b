package smtpclient

import (
	"strconv"
	"strings"
	"time"

	"suffix/pkg/dsn"
	"suffix/pkg/maps"
)

// handshake reads the greeting and introduces this host (spec smtp-client §5).
func (s *session) handshake(req *handshakeRequest) *failure {
	cfg := s.cfg
	var r reply
	s.state = "receiving the initial server greeting"
	if err := s.reply(cfg.HeloTimeout, &r); err != nil {
		return s.streamFailure(err)
	}
	if !r.ok() {
		f := s.refused(&r)
		if r.code/100 == 5 && cfg.Skip5xxGreeting {
			f.dsn.Status = dsn.WithClass(f.dsn.Status, '4')
		}
		return f
	}
	noESMTP := false
	if f := s.pixWorkarounds(&r, req, &noESMTP); f != nil {
		return f
	}
	words := strings.Fields(r.text[min(len(r.text), 4):])
	if req.loopCheck && len(words) > 0 && strings.EqualFold(words[0], cfg.HostName) {
		s.log().Warnf("host %s greeted me with my own hostname %s", s.nameAddrPort, cfg.HostName)
	}
	esmtp := cfg.AlwaysEHLO
	for _, w := range words {
		if strings.EqualFold(w, "ESMTP") {
			esmtp = true
		}
	}
	if f := s.hello(req, &r, cfg.LMTP || esmtp && !cfg.NeverEHLO && !noESMTP); f != nil {
		return f
	}
	if req.needUTF8 && !s.has(featSMTPUTF8) {
		f := siteFailure("5.6.7", "SMTPUTF8 is required, but was not offered by host %s", s.nameAddr)
		if !cfg.Dialect37 {
			f = siteFailure("5.6.7", "message requires SMTPUTF8, but no server was found that supports SMTPUTF8. The last attempted server was %s", s.nameAddr)
			f.softUntilFinal = true
		}
		f.noThrottle, f.noCache = true, true
		return f
	}
	return nil
}

// A handshakeRequest is what the handshake must know of the delivery.
type handshakeRequest struct {
	id        string
	nexthop   string
	arrival   time.Time // of the message
	needUTF8  bool      // only a server with SMTPUTF8 will do
	loopCheck bool      // the server may be this host
}

// pixWorkarounds recognises a firewall that hides the greeting.
func (s *session) pixWorkarounds(r *reply, req *handshakeRequest, noESMTP *bool) *failure {
	if strings.Trim(r.text, "20 *\t\n") != "" {
		return nil
	}
	cfg := s.cfg
	words := cfg.PIXWorkarounds
	if value, found, err := s.addressLookup(cfg.PIXWorkaroundMaps, cfg.Prefix+"_pix_workaround_maps"); err != nil {
		return s.streamFailure(err)
	} else if found {
		words = value
	}
	var enabled []string
	for _, w := range splitDestinations(words) {
		switch strings.ToLower(w) {
		case "disable_esmtp":
			*noESMTP = true
			enabled = append(enabled, "disable_esmtp")
		case "delay_dotcrlf":
			if time.Since(req.arrival) >= cfg.PIXThreshold {
				s.features |= featPIXDelay
				enabled = append(enabled, "delay_dotcrlf")
			}
		}
	}
	if len(enabled) > 0 {
		s.log().Infof("%s: enabling PIX workarounds: %s for %s", req.id, strings.Join(enabled, " "), s.nameAddrPort)
	}
	return nil
}

// addressLookup looks up the server's address in a table list.
func (s *session) addressLookup(m *maps.Maps, parameter string) (string, bool, error) {
	if m.Empty() {
		return "", false, nil
	}
	where := s.addr.String()
	if !s.addr.IsValid() {
		_, where, _ = strings.Cut(strings.TrimSuffix(s.nameAddr, "]"), "[")
	}
	value, found, err := m.Find(where)
	if err != nil {
		s.log().Warnf("%s: %s map lookup error for %s", s.messageID, parameter, where)
		return "", false, errLocalData
	}
	return value, found, nil
}

// hello sends EHLO, HELO or LHLO.
func (s *session) hello(req *handshakeRequest, r *reply, extended bool) *failure {
	cfg := s.cfg
	if extended {
		verb := "EHLO"
		if cfg.LMTP {
			verb = "LHLO"
		}
		if err := s.ask("performing the "+verb+" handshake", cfg.HeloTimeout, r, verb, " ", cfg.HeloName); err != nil {
			return s.streamFailure(err)
		}
		switch {
		case r.ok():
			s.features |= featESMTP
			return s.parseEHLO(req, r)
		case cfg.LMTP || r.code == 421:
			return s.refused(r)
		}
	}
	if err := s.ask("performing the HELO handshake", cfg.HeloTimeout, r, "HELO ", cfg.HeloName); err != nil {
		return s.streamFailure(err)
	}
	if !r.ok() {
		return s.refused(r)
	}
	return s.checkHelloName(req, firstWord(r.text))
}

// firstWord returns the word after the reply code.
func firstWord(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	if len(line) < 4 {
		return ""
	}
	words := strings.Fields(line[4:])
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// checkHelloName notices that the server is this host.
func (s *session) checkHelloName(req *handshakeRequest, name string) *failure {
	if !req.loopCheck || !strings.EqualFold(name, s.cfg.HostName) {
		return nil
	}
	s.log().Warnf("host %s replied to HELO/EHLO with my own hostname %s", s.nameAddrPort, s.cfg.HostName)
	status := "4.4.6"
	if s.bestMX {
		status = "5.4.6"
	}
	return siteFailure(status, "mail for %s loops back to myself", req.nexthop)
}

// parseEHLO learns what the server can do.
func (s *session) parseEHLO(req *handshakeRequest, r *reply) *failure {
	cfg := s.cfg
	words := cfg.DiscardKeywords
	parameter := cfg.Prefix + "_discard_ehlo_keyword_address_maps"
	if cfg.LMTP {
		parameter = cfg.Prefix + "_discard_lhlo_keyword_address_maps"
	}
	if value, found, err := s.addressLookup(cfg.DiscardKeywordMaps, parameter); err != nil {
		return s.streamFailure(err)
	} else if found {
		words = value
	}
	discard := s.discarded(words)
	lines := strings.Split(r.text, "\n")
	if f := s.checkHelloName(req, firstWord(lines[0])); f != nil {
		return f
	}
	for _, line := range lines[1:] {
		if len(line) < 4 {
			continue
		}
		fields := strings.Fields(strings.Replace(line[4:], "=", " ", 1))
		if len(fields) == 0 {
			continue
		}
		keyword := strings.ToUpper(fields[0])
		if discard[keyword] {
			continue
		}
		s.keyword(keyword, fields[1:])
	}
	if cfg.NoteStartTLS && cfg.TLSLevel == "none" && s.has(featSTARTTLS) {
		s.log().Infof("Host offered STARTTLS: [%s]", s.host)
	}
	if s.has(featSMTPUTF8) && !s.has(feat8BITMIME) {
		s.log().Infof("host %s offers SMTPUTF8 support, but not 8BITMIME", s.nameAddr)
		s.features |= feat8BITMIME
	}
	return nil
}

// discarded reads a list of EHLO keywords to ignore.
func (s *session) discarded(words string) map[string]bool {
	list := splitDestinations(words)
	if len(list) == 0 {
		return nil
	}
	discard := make(map[string]bool, len(list))
	silent := false
	var known []string
	for _, w := range list {
		w = strings.ToUpper(w)
		if w == "SILENT-DISCARD" {
			silent = true
			continue
		}
		discard[w] = true
		known = append(known, w)
	}
	if !silent && len(known) > 0 {
		s.log().Infof("discarding EHLO keywords: %s", strings.Join(known, " "))
	}
	return discard
}

var simpleKeywords = map[string]features{
	"8BITMIME":   feat8BITMIME,
	"PIPELINING": featPipelining,
	"DSN":        featDSN,
	"STARTTLS":   featSTARTTLS,
	"AUTH":       featAUTH,
	"SMTPUTF8":   featSMTPUTF8,
}

var xforwardNames = map[string]features{
	"NAME": featXName, "ADDR": featXAddr, "PORT": featXPort, "PROTO": featXProto,
	"HELO": featXHelo, "IDENT": featXIdent, "SOURCE": featXSource,
}

func (s *session) keyword(keyword string, args []string) {
	switch keyword {
	case "SIZE":
		s.features |= featSize
		if len(args) == 0 {
			return
		}
		if strings.Trim(args[0], "0123456789") != "" {
			s.log().Warnf("bad EHLO SIZE limit \"%s\" from %s", args[0], s.nameAddrPort)
			return
		}
		// A limit beyond what a number can hold limits nothing.
		if n, err := strconv.ParseInt(args[0], 10, 64); err == nil {
			s.sizeLimit = n
		}
	case "XFORWARD":
		for _, a := range args {
			s.features |= xforwardNames[strings.ToUpper(a)]
		}
	default:
		s.features |= simpleKeywords[keyword]
	}
}
