package matchlist

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"strings"

	"suffix/pkg/table"
	"suffix/pkg/table/netblock"
)

// network is an address pattern.
type network struct {
	block netblock.Block
	ipv6  bool
}

func (n network) contains(ip netip.Addr) bool { return n.block.Contains(ip) }

// addressLike says that text consists of what addresses consist of.
func addressLike(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF.:") == ""
}

// parseNetwork parses a list item as an address pattern. ok is false for items
// that do not look like one: those match no address, silently.
func parseNetwork(text string) (n network, ok bool, err error) {
	if !strings.ContainsAny(text, "/:") && !strings.HasPrefix(text, "[") {
		return network{}, false, nil // a plain IPv4 address is compared as text
	}
	if strings.Trim(text, "0123456789abcdefABCDEF.:[]/") != "" {
		return network{}, false, nil
	}
	n.ipv6 = strings.Contains(text, ":")
	n.block, err = netblock.Parse(text)
	return n, true, err
}

// physicalLines reads a pattern file as Postfix 3.7 does.
func physicalLines(r io.Reader) ([]string, error) {
	var lines []string
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func allLines(r *table.LineReader) ([]string, error) {
	var lines []string
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		lines = append(lines, string(line))
	}
}
