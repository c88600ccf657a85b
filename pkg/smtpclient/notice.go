package smtpclient

import (
	"strings"
)

// maxTranscript bounds what is kept of a dialogue for the postmaster.
const maxTranscript = 200

// transcribes says whether anybody wants to see the dialogue.
func (s *session) transcribes() bool { return s.cfg.Notify != nil }

func (s *session) record(line string) {
	if len(s.transcript) < maxTranscript {
		s.transcript = append(s.transcript, line)
	}
}

// oddity remembers that something happened that the postmaster may want to
// know, by class of notify_classes. Such a connection is not used again.
func (s *session) oddity(class string) {
	if s.odd == nil {
		s.odd = make(map[string]bool, 1)
	}
	s.odd[class] = true
}

// notify sends the transcript to the postmaster (spec smtp-client §7.5).
func (s *session) notify(sender string) {
	wanted := s.odd["protocol"] && s.cfg.NotifyProtocol || s.odd["data"] && s.cfg.NotifyData
	if !wanted || s.cfg.Notify == nil || sender == "" || isDoubleBounce(sender) {
		return
	}
	body := []string{"Unexpected response from " + s.nameAddrPort + ".", "", "Transcript of session follows.", ""}
	for _, line := range s.transcript {
		body = append(body, wrap(line)...)
	}
	body = append(body, "", "For other details, see the local mail logfile")
	if err := s.cfg.Notify("Postfix "+s.cfg.protocolName()+" client: errors from "+s.nameAddrPort, body); err != nil {
		s.log().Warnf("postmaster notify: %v", err)
	}
}

func isDoubleBounce(sender string) bool {
	local, _, _ := strings.Cut(sender, "@")
	return strings.EqualFold(local, "double-bounce")
}

// wrap breaks a line at 78 columns; what follows is indented.
func wrap(line string) []string {
	const width, indent = 78, "     "
	var lines []string
	for len(line) > width {
		at := strings.LastIndexByte(line[:width], ' ')
		if at <= len(indent) {
			at = width
		}
		lines = append(lines, line[:at])
		line = indent + strings.TrimLeft(line[at:], " ")
	}
	return append(lines, line)
}
