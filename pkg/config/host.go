package config

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/params"
	"suffix/pkg/safefile"
)

// Parameters whose default derives from the host (spec config §8).
const (
	hostName = iota
	hostDomain
	hostNetworks
	computedCount
)

// A computedSet is a set of these parameters, one bit each. While the default
// of one is worked out it counts as undefined, so that settings that refer to
// each other cannot run in a circle.
type computedSet uint8

const allComputed computedSet = 1<<computedCount - 1

// defaultsHidden leaves explicit settings only.
const defaultsHidden computedSet = 1 << 7

func computedName(name string) (which int, ok bool) {
	switch name {
	case "myhostname":
		return hostName, true
	case "mydomain":
		return hostDomain, true
	case "mynetworks":
		return hostNetworks, true
	}
	return 0, false
}

// compute returns the default of a parameter that derives from the host.
func (m *Main) compute(which int, hidden computedSet) (text string, ok bool) {
	bit := computedSet(1) << which
	if hidden&bit != 0 {
		return "", false
	}
	m.mu.Lock()
	known := m.computed[which]
	m.mu.Unlock()
	if known != nil {
		return known.text, true
	}
	switch which {
	case hostName:
		text = m.defaultHostname(hidden | bit)
	case hostDomain:
		text = m.defaultDomain(hidden | bit)
	case hostNetworks:
		text = m.defaultNetworks(hidden | bit)
	}
	if hidden == 0 {
		m.mu.Lock()
		m.computed[which] = &value{text}
		m.mu.Unlock()
	}
	return text, true
}

const defaultLocalDomain = "localdomain"

func (m *Main) defaultHostname(hidden computedSet) string {
	name, err := os.Hostname()
	reason := ""
	if err == nil {
		reason = ValidHostname(name)
	}
	if err != nil || reason != "" {
		if reason != "" {
			m.warn("valid_hostname: " + reason)
		}
		m.fail(fmt.Errorf("unable to use my own hostname"))
		return "localhost." + defaultLocalDomain
	}
	if strings.IndexByte(name, '.') >= 0 {
		return name
	}
	domain := defaultLocalDomain
	if text, set := m.settings["mydomain"]; set {
		if text, err := m.expand(text, hidden); err == nil {
			domain = text
		}
	}
	return name + "." + domain
}

func (m *Main) defaultDomain(hidden computedSet) string {
	text, _ := m.unexpanded("myhostname", hidden)
	name, err := m.expand(text, hidden)
	if err != nil {
		return defaultLocalDomain
	}
	if _, domain, ok := strings.Cut(name, "."); ok {
		return domain
	}
	return defaultLocalDomain
}

// originFromFile reads a myorigin that names a file, as Debian's setup does.
func (m *Main) originFromFile(path string) string {
	f, err := safefile.Open(path, os.O_RDONLY, 0)
	if err != nil {
		m.fail(fmt.Errorf("%s: %w", path, err))
		return m.String(params.Myhostname)
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	if line = trimSpace(line); line == "" {
		m.fail(fmt.Errorf("myorigin file %s is empty", path))
		return m.String(params.Myhostname)
	}
	return line
}

// ValidHostname returns "" for a name that may stand where a host name is
// wanted, else the reason with the name, in the words of Postfix's warning
// after "valid_hostname: " (spec config §5).
func ValidHostname(name string) string {
	const maxLength, maxLabel = 255, 63
	if name == "" {
		return "empty hostname"
	}
	numeric, label := true, 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_':
			if label++; label > maxLabel {
				return "hostname label too long: " + name
			}
			if c < '0' || c > '9' {
				numeric = false
			}
		case c == '.':
			if label == 0 || i == len(name)-1 {
				return "misplaced delimiter: " + name
			}
			label = 0
		case c == '-':
			numeric = false
			if label++; label == 1 || i == len(name)-1 || name[i+1] == '.' {
				return "misplaced hyphen: " + name
			}
		default:
			return fmt.Sprintf("invalid character %d(decimal): %s", c, name)
		}
	}
	switch {
	case numeric:
		return "numeric hostname: " + name
	case len(name) > maxLength:
		return fmt.Sprintf("bad length %d for %.100s...", len(name), name)
	}
	return ""
}
