package dnsclient

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// settings are what resolv.conf(5) says.
type settings struct {
	servers  []string // address:port
	search   []string
	ndots    int
	timeout  time.Duration // for one question to one server
	attempts int
}

// Bounds of resolv.conf(5), so that a strange file cannot make a lookup endless.
const (
	maxServers  = 3
	maxSearch   = 32
	maxTimeout  = 30 * time.Second
	maxAttempts = 5
	maxNdots    = 15
	reloadAfter = 5 * time.Second
)

func defaultSettings() settings {
	return settings{servers: []string{"127.0.0.1:53"}, ndots: 1, timeout: 5 * time.Second, attempts: 2}
}

// parseResolvConf reads the file. Lines that it does not know are skipped, as
// the C library does.
func parseResolvConf(path string) (settings, error) {
	s := defaultSettings()
	f, err := os.Open(path)
	if err != nil {
		return s, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	var servers []string
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		line := scanner.Text()
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if addr := serverAddr(words[1]); addr != "" && len(servers) < maxServers {
				servers = append(servers, addr)
			}
		case "domain":
			s.search = []string{trimDot(words[1])}
		case "search":
			s.search = nil
			for _, w := range words[1:] {
				if len(s.search) < maxSearch {
					s.search = append(s.search, trimDot(w))
				}
			}
		case "options":
			for _, w := range words[1:] {
				s.option(w)
			}
		}
	}
	if len(servers) > 0 {
		s.servers = servers
	}
	return s, scanner.Err()
}

func (s *settings) option(word string) {
	name, value, ok := strings.Cut(word, ":")
	n, err := strconv.Atoi(value)
	if !ok || err != nil || n < 0 {
		return
	}
	switch name {
	case "timeout":
		s.timeout = min(max(time.Duration(min(n, 1000))*time.Second, time.Second), maxTimeout)
	case "attempts":
		s.attempts = min(max(n, 1), maxAttempts)
	case "ndots":
		s.ndots = min(n, maxNdots)
	}
}

// serverAddr returns "address:port", empty for what is neither an address nor
// "[address]:port".
func serverAddr(word string) string {
	if strings.HasPrefix(word, "[") {
		if ap, err := netip.ParseAddrPort(word); err == nil {
			return ap.String()
		}
		// An IPv4 address may stand in the brackets, too.
		if host, port, err := net.SplitHostPort(word); err == nil {
			if _, err := netip.ParseAddr(host); err == nil {
				return net.JoinHostPort(host, port)
			}
		}
		return ""
	}
	a, err := netip.ParseAddr(word)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(a.String(), "53")
}

// source holds the settings and reads the file again when it has changed.
type source struct {
	path string // empty: fixed

	mu      sync.Mutex
	current settings
	checked time.Time
	stamp   time.Time
	size    int64
}

func (c *source) get() settings {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.path == "" || time.Since(c.checked) < reloadAfter {
		return c.current
	}
	c.checked = time.Now()
	// Inside a chroot the file may be missing: then what was read before counts.
	info, err := os.Stat(c.path)
	if err != nil || (info.ModTime().Equal(c.stamp) && info.Size() == c.size) {
		return c.current
	}
	if s, err := parseResolvConf(c.path); err == nil {
		c.current, c.stamp, c.size = s, info.ModTime(), info.Size()
	}
	return c.current
}

func newSource(o Options) *source {
	if len(o.Servers) > 0 {
		s := defaultSettings()
		s.servers = append([]string(nil), o.Servers...)
		return &source{current: s}
	}
	path := o.ResolvConf
	if path == "" {
		path = os.Getenv("SUFFIX_RESOLV_CONF")
	}
	if path == "" {
		path = "/etc/resolv.conf"
	}
	// Without the file the local host is asked, as resolv.conf(5) says.
	c := &source{path: path, current: defaultSettings()}
	c.get()
	return c
}
