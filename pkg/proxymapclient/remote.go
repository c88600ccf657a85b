package proxymapclient

import (
	"fmt"
	"os"
	"strings"

	"suffix/pkg/ipc"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/typenames"
)

func init() {
	for _, name := range typenames.Heavy {
		table.Register(name, table.Type{Open: openRemote, Remote: true})
	}
}

// remote is a table of a type that this program does not link.
type remote struct {
	proxy *proxy
	uid   int
	known bool
}

func openRemote(typ, name string, o table.Options) (table.Table, error) {
	spec := typ + ":" + name
	if o.Mode != table.ReadOnly {
		return nil, fmt.Errorf("%s map requires O_RDONLY access mode", spec)
	}
	var p *proxy
	if o.Command {
		p = newProxy("proxymap", spec, o, command(o.Config))
		p.old = false // between us
	} else {
		service := "proxymap"
		if o.Config != nil {
			service = o.Config.String(params.ProxymapServiceName)
		}
		p = newProxy(service, spec, o, client(ipc.Private, service, o.Config))
	}
	p.reasons = true
	r := &remote{proxy: p}
	r.uid, r.known = owner(name, o.Config)
	status, why, err := p.call(Open, nil, nil)
	switch {
	case err != nil && o.Command:
		return nil, fmt.Errorf("%s: %w", spec, err)
	case err != nil:
		return nil, fmt.Errorf("%s: the %s service, which has the %s client, does not answer: %s", spec, p.service, typ, syserr.Text(err))
	case status == Denied:
		return nil, fmt.Errorf("%s: the %s service does not approve this table: it is not that of Suffix, or has not seen main.cf as it is now; "+
			"to approve this table, list proxy:%s in main.cf:proxy_read_maps", spec, p.service, spec)
	case status != OK:
		return nil, fmt.Errorf("%s open failed for table \"%s\": invalid request", p.service, spec)
	case p.Flags()&table.Surrogate == 0:
		return r, nil
	case why != nil && why.Err != nil:
		return nil, why.Err
	}
	return nil, fmt.Errorf("the %s service cannot open %s", p.service, spec)
}

func (r *remote) Name() string       { return r.proxy.name }
func (r *remote) Fixed() bool        { return r.proxy.Fixed() }
func (r *remote) Flags() table.Flags { return r.proxy.Flags() }
func (r *remote) Changed() bool      { return false }
func (r *remote) Close() error       { return nil }

// Lookup asks the server for a key.
func (r *remote) Lookup(key string) (string, bool, error) { return r.proxy.Lookup(key) }

// Owner is the owner of the file that configures the client, or of main.cf:
// who can change what the table says (spec tables §2.6).
func (r *remote) Owner() (uid int, known bool) { return r.uid, r.known }

func owner(name string, c table.Config) (uid int, known bool) {
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, ".") {
		m, ok := c.(interface{ Dir() string })
		if !ok {
			return 0, true // the settings are compiled in
		}
		name = m.Dir() + "/main.cf"
	}
	info, err := os.Stat(name)
	if err != nil {
		return 0, false
	}
	return table.FileOwner(info), true
}
