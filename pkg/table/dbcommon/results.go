package dbcommon

import (
	"fmt"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/matchlist"
	"suffix/pkg/table"
)

// Client has the parameters that all of these table types share: how results
// are written, how many there may be, and which keys are asked for at all.
type Client struct {
	*Source
	Format *Template // result_format
	Limit  int       // expansion_limit, 0: none
	domain *matchlist.List
}

// Client reads result_format, expansion_limit and domain. Drivers with other
// names or limits for the first two pass them as they found them through
// NewClient.
func (s *Source) Client() *Client {
	format := s.ResultFormat(s.String("result_format", "%s", 1, 0))
	return s.NewClient(format, s.Int("expansion_limit", 0, 0, 0))
}

// NewClient reads domain.
func (s *Source) NewClient(format *Template, limit int) *Client {
	c := &Client{Source: s, Format: format, Limit: limit}
	if text := s.String("domain", "", 0, 0); text != "" {
		c.domain = matchlist.New(s.domainParam(), text, matchlist.String,
			matchlist.Options{Config: s.config, Command: s.options.Command})
		if err := c.domain.Err(); err != nil && s.options.Command {
			s.Fail("%s", err)
		}
	}
	return c
}

// domainParam names the domain list in messages.
func (s *Source) domainParam() string { return s.name }

// Close closes the tables that the domain list names.
func (c *Client) Close() error {
	if c.domain != nil {
		c.domain.Close()
	}
	return nil
}

// Changed: these tables do not notice that their configuration has changed.
func (c *Client) Changed() bool { return false }

// Fixed: the keys are fixed strings.
func (c *Client) Fixed() bool { return true }

// Name is the table's name, "type:name".
func (c *Client) Name() string { return c.Table() }

// Wanted says whether the server is asked for a key: with domain set only
// addresses in these domains are.
func (c *Client) Wanted(key string) (bool, error) {
	if c.domain == nil {
		return true, nil
	}
	a := splitAddress(key)
	if !a.at || a.localpart == "" || a.domain == "" {
		return false, nil
	}
	wanted, err := c.domain.Match(a.domain)
	if err != nil && c.options.Command {
		maillog.Warnf("%s", err) // what is fatal to others is not so here
	}
	return wanted, err
}

// Results gathers the values found for one key into one value.
type Results struct {
	client *Client
	key    address
	text   []byte
	count  int
	// Limit is the text of the warning about too many values. The default is
	// that of most types.
	Limit string
}

// Results starts to gather values for a key. ok is false when the key lacks a
// part that the result format uses: then nothing is to be asked.
func (c *Client) Results(key string) (r *Results, ok bool) {
	r = &Results{client: c, key: splitKey(key)}
	return r, c.Format.suits(&r.key)
}

// Add takes a value; an empty one is skipped with a warning, one that lacks a
// part that the format uses is skipped silently. The error says that there are
// more values than allowed.
func (r *Results) Add(value string) error {
	if nul := strings.IndexByte(value, 0); nul >= 0 {
		value = value[:nul] // as Postfix, where a NUL ends a text
	}
	if value == "" {
		maillog.Warnf("table \"%s\": empty lookup result for: \"%s\" -- ignored", r.client.Table(), r.key.whole)
		return nil
	}
	v := splitAddress(value)
	if !r.client.Format.suitsValue(&v) {
		return nil
	}
	if r.count++; r.client.Limit > 0 && r.count > r.client.Limit {
		text := r.Limit
		if text == "" {
			text = fmt.Sprintf("dict_%s_lookup: %s: Expansion limit exceeded for key: '%s'", r.client.typ, r.client.name, r.key.whole)
		}
		maillog.Warnf("%s", text)
		return &table.Error{}
	}
	if len(r.text) > 0 {
		r.text = append(r.text, ',')
	}
	r.text = r.client.Format.expand(r.text, &r.key, &v, Plain)
	return nil
}

// Value is the whole result; found is false when there was no value.
func (r *Results) Value() (value string, found bool) {
	return string(r.text), r.count > 0
}
