package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/account"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
)

// Check reads every parameter that all programs share and applies the sanity
// checks that every program makes at start (spec config §5). The first error
// is returned in the words of Postfix's fatal message; it is also that of Err.
//
// One check is waived: mail_owner and setgid_group may share a group when the
// program runs without any privilege as mail_owner itself. In such a private
// instance of an ordinary user there is nothing that the group protects, and
// the user may have one group only.
func (m *Main) Check() error {
	return m.run(append(m.valueChecks(),
		m.checkAccounts,
		func() error { m.MyNetworks(); return nil },
		func() error { _, err := m.OwnAddresses(); return err },
		m.checkSettings,
		func() error { m.Items(params.ImportEnvironment); return nil },
	))
}

// LoadCommand is Load for short-lived commands, with those checks of Check
// that need to ask neither for accounts nor for addresses: a mistake in main.cf
// ends every program, but mail can be handed in and the queue be shown
// whatever happens to the network.
func LoadCommand(o Options) (*Main, error) {
	m, err := Load(o)
	if err != nil {
		return nil, err
	}
	return m, m.run(append(m.valueChecks(), m.checkSettings, func() error { m.Items(params.ImportEnvironment); return nil }))
}

func (m *Main) valueChecks() []func() error {
	return []func() error{
		func() error { m.CompatLevelBelow("1"); return nil },
		func() error { return m.read(earlyParams) },
		m.checkSyslogFacility,
		func() error { m.KnownTCPPorts(); return nil },
		func() error { m.Protocols(); return nil },
		func() error { return m.read([]uint16{uint16(params.Myhostname), uint16(params.Mydomain)}) },
		func() error { return m.checkHostname(params.Myhostname) },
		func() error { return m.checkHostname(params.Mydomain) },
		m.readCommon,
	}
}

func (m *Main) run(steps []func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			m.fail(err)
		}
		if err := m.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Main) bad(format string, args ...any) error {
	return fmt.Errorf("file %s/main.cf: %s", m.dir, fmt.Sprintf(format, args...))
}

func (m *Main) checkSyslogFacility() error {
	name := m.String(params.SyslogFacility)
	if _, ok := SyslogFacility(name); !ok {
		return m.bad("parameter syslog_facility: unrecognized value: %s", name)
	}
	return nil
}

func (m *Main) checkHostname(id params.String) error {
	name := m.String(id)
	if reason := ValidHostname(name); reason != "" {
		m.warn("valid_hostname: " + reason)
		return m.bad("parameter %s: bad parameter value: %s", params.Of(id).Name, name)
	}
	return nil
}

// earlyParams are those that programs load before all others, in this order.
var earlyParams = []uint16{
	uint16(params.MailVersion), uint16(params.SyslogFacility), uint16(params.InetProtocols), uint16(params.MultiInstanceDirectories),
	uint16(params.MultiInstanceGroup), uint16(params.MultiInstanceName), uint16(params.MaillogFile), uint16(params.MaillogFilePrefixes),
	uint16(params.MaillogFileCompressor), uint16(params.MaillogFileRotateSuffix), uint16(params.MaillogFilePermissions),
	uint16(params.PostlogServiceName), uint16(params.DnssecProbe), uint16(params.KnownTcpPorts),
	uint16(params.DaemonTableOpenErrorIsFatal), uint16(params.DnsNcacheTtlFixEnable),
	uint16(params.Smtputf8Enable), uint16(params.EnableIdna2003Compatibility), uint16(params.RespectfulLogging),
	uint16(params.RequiretlsEnable), uint16(params.TlsRequiredEnable), uint16(params.NonBdbMigrationLogRedirect),
}

// read converts parameters, given by their place in the table.
func (m *Main) read(list []uint16) error {
	for _, i := range list {
		switch p := params.Of(i); p.Kind {
		case params.KindBool:
			m.Bool(params.Bool(i))
		case params.KindInt, params.KindLong, params.KindTime:
			m.number(p)
		case params.KindRaw:
			m.Raw(params.Raw(i))
		default:
			m.String(params.String(i))
		}
		if err := m.Err(); err != nil {
			return err
		}
	}
	return nil
}

// readCommon converts the parameters that every program loads, one kind after
// the other. mynetworks is left for its own step.
func (m *Main) readCommon() error {
	order := [...]params.Kind{params.KindString, params.KindRaw, params.KindInt, params.KindLong, params.KindBool, params.KindTime}
	var lists [len(order)][]uint16
	all := params.All()
	for i := range all {
		p := &all[i]
		if p.Programs != "*" || p.Flags&(params.ReadOnly|params.Hidden) != 0 {
			continue
		}
		for k, kind := range order {
			if p.Kind == kind {
				lists[k] = append(lists[k], uint16(i))
			}
		}
	}
	for _, list := range lists {
		if err := m.read(list); err != nil {
			return err
		}
	}
	m.Dialect37()
	return nil
}

func (m *Main) checkAccounts() error {
	privs, err := m.unprivilegedUser(params.DefaultPrivs)
	if err != nil {
		return err
	}
	owner, err := m.unprivilegedUser(params.MailOwner)
	if err != nil {
		return err
	}
	if other, err := account.LookupUID(owner.UID); err == nil && other.Name != owner.Name {
		return m.bad("parameter mail_owner: user %s has the same user ID %d as user %s", owner.Name, owner.UID, other.Name)
	}
	group, err := m.setgidGroup()
	if err != nil {
		return err
	}
	const pair = "parameters default_privs and mail_owner"
	switch {
	case privs.Name == owner.Name:
		return m.bad(pair+" specify the same user %s", privs.Name)
	case privs.UID == owner.UID:
		return m.bad(pair+": users %s and %s have the same user ID: %d", privs.Name, owner.Name, privs.UID)
	case privs.GID == owner.GID:
		return m.bad(pair+": users %s and %s have the same group ID: %d", privs.Name, owner.Name, privs.GID)
	case privs.GID == group.GID:
		return m.bad("parameters default_privs and setgid_group: user %s and group %s have the same group ID: %d", privs.Name, group.Name, group.GID)
	case owner.GID == group.GID && !runsUnprivilegedAs(owner.UID):
		return m.bad("parameters mail_owner and setgid_group: user %s and group %s have the same group ID: %d", owner.Name, group.Name, group.GID)
	}
	return nil
}

// runsUnprivilegedAs tells whether this program has the rights of one
// ordinary user and no others.
func runsUnprivilegedAs(uid int) bool {
	return uid != 0 && os.Getuid() == uid && os.Geteuid() == uid && os.Getgid() == os.Getegid()
}

func (m *Main) unprivilegedUser(id params.String) (*account.User, error) {
	param, name := params.Of(id).Name, m.String(id)
	user, err := account.Lookup(name)
	var notFound *account.NotFoundError
	switch {
	case errors.As(err, &notFound):
		return nil, m.bad("parameter %s: unknown user name value: %s", param, name)
	case err != nil:
		return nil, m.bad("parameter %s: user lookup error for %s: %s", param, name, syserr.Text(err))
	case user.UID == 0:
		return nil, m.bad("parameter %s: user %s has privileged user ID", param, name)
	case user.GID == 0:
		return nil, m.bad("parameter %s: user %s has privileged group ID", param, name)
	}
	return user, nil
}

func (m *Main) setgidGroup() (*account.Group, error) {
	name := m.String(params.SetgidGroup)
	group, err := account.LookupGroup(name)
	var notFound *account.NotFoundError
	switch {
	case errors.As(err, &notFound):
		return nil, m.bad("parameter setgid_group: unknown group name: %s", name)
	case err != nil:
		return nil, m.bad("parameter setgid_group: group lookup error for %s: %s", name, syserr.Text(err))
	case group.GID == 0:
		return nil, m.bad("parameter setgid_group: group %s has privileged group ID", name)
	}
	if other, err := account.LookupGID(group.GID); err == nil && other.Name != group.Name {
		return nil, m.bad("parameter setgid_group: group %s has the same group ID %d as group %s", name, group.GID, other.Name)
	}
	return group, nil
}

func (m *Main) checkSettings() error {
	hostname, relayhost, origin := m.String(params.Myhostname), m.String(params.Relayhost), m.String(params.Myorigin)
	switch {
	case strings.EqualFold(hostname, relayhost):
		return fmt.Errorf("myhostname and relayhost parameter settings must not be identical: %s", hostname)
	case strings.ContainsAny(origin, ", \t\r\n"):
		return fmt.Errorf("myorigin parameter setting must not contain multiple values: %s", origin)
	}
	delimiters, filter := m.String(params.DefaultVerpDelimiters), m.String(params.VerpDelimiterFilter)
	for i, which := range []string{"first", "second"} {
		if i < len(delimiters) && strings.IndexByte(filter, delimiters[i]) < 0 {
			return m.bad("parameters default_verp_delimiters and verp_delimiter_filter: bad %s VERP delimiter character", which)
		}
	}
	if mode := m.String(params.MaillogFilePermissions); !validLogMode(mode) {
		m.warn("ignoring bad permissions: maillog_file_permissions = " + mode)
	}
	return nil
}

func validLogMode(text string) bool {
	switch strings.TrimLeft(text, "0") {
	case "644", "640", "600":
		return true
	}
	return false
}

// SyslogFacility returns the number of a syslog facility, to be combined with
// a level (RFC 3164 §4.1.1).
func SyslogFacility(name string) (code int, ok bool) {
	names := [...]string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
	for i, n := range names {
		if n == name && n != "" {
			return i << 3, true
		}
	}
	return 0, false
}
