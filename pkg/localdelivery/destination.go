package localdelivery

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"suffix/pkg/account"
	"suffix/pkg/dsn"
	"suffix/pkg/macro"
	"suffix/pkg/mailbox"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/syserr"
)

// probing says that the mail system only asks what would happen.
func (d *delivery) probing() bool {
	return d.req.Flags&(outcome.FlagProbe|outcome.FlagUserProbe) != 0
}

// privilegesOf returns the user in whose name a file or command is handled.
func (d *delivery) privilegesOf(s state) (uid, gid int) {
	if s.user == nil || s.user.UID == 0 || s.user.GID == 0 {
		return d.privileges.UID, d.privileges.GID
	}
	return s.user.UID, s.user.GID
}

// copyOptions are the lines before a message that is stored.
func (d *delivery) copyOptions(s state, where string) mailbox.CopyOptions {
	o := mailbox.CopyOptions{From: true, ReturnPath: true, Quote: true, Blank: true}
	if d.originalRecipient {
		o.OriginalTo = s.rcpt.Original
	}
	if d.prependDelivered[where] {
		o.DeliveredTo = s.delivered
	}
	return o
}

// maildirOptions are those of a file that is a message by itself.
func (d *delivery) maildirOptions(s state) mailbox.CopyOptions {
	o := d.copyOptions(s, "file")
	o.From, o.Quote, o.Blank = false, false, false
	return o
}

// file delivers to /path of a list.
func (d *delivery) file(s state, path string) outcome.Result {
	uid, gid := d.privilegesOf(s)
	if d.seen.duplicate(fmt.Sprintf("file %d", uid), path) {
		return outcome.Done
	}
	if !d.allowedFiles[s.origin] {
		return d.ownerFailed(s, dsn.DSN{Status: "5.7.1", Reason: "mail to file is restricted"})
	}
	if d.probing() {
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "delivers to file: " + path})
	}
	if strings.HasSuffix(path, "/") {
		return d.maildir(s, path, uid, gid, true)
	}
	v, err := d.appendFile(s, path, uid, gid)
	if err == errCorrupt {
		return outcome.Retry
	}
	if err != nil {
		v.Reason = fmt.Sprintf("cannot append message to file %s: %s", path, v.Reason)
		return d.ownerFailed(s, v)
	}
	return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "delivered to file: " + path})
}

// errCorrupt stands for a damaged queue file: nothing is recorded.
var errCorrupt = errors.New("damaged queue file")

func (d *delivery) appendFile(s state, path string, uid, gid int) (v dsn.DSN, err error) {
	err = account.AsUser(uid, gid, []int{gid}, func() error {
		m, err := mailbox.OpenMbox(path, d.locking, "5.2.0", true)
		if err != nil {
			return err
		}
		defer m.Close()
		if m.Info.Mode().IsRegular() && m.Info.Mode()&0o111 != 0 {
			return &mailbox.OpenError{Reason: "file is executable", Status: "5.7.1"}
		}
		_, err = m.Append(d.req, d.copyOptions(s, "file"), d.sizeLimit)
		return err
	})
	return d.describe(err)
}

// describe turns an error of package mailbox into an outcome.
func (d *delivery) describe(err error) (dsn.DSN, error) {
	var open *mailbox.OpenError
	var copying *mailbox.CopyError
	switch {
	case err == nil:
		return dsn.DSN{}, nil
	case errors.As(err, &open):
		return dsn.DSN{Status: open.Status, Reason: open.Reason}, err
	case errors.As(err, &copying) && copying.Corrupt:
		d.req.MarkCorrupt(d.req.QueueName + "/" + d.req.QueueID)
		return dsn.DSN{}, errCorrupt
	case errors.As(err, &copying):
		return copying.DSN(), err
	}
	return dsn.DSN{Status: mailbox.Status(err, "4.3.0"), Reason: syserr.Text(err)}, err
}

// command delivers to |command.
func (d *delivery) command(s state, text string) outcome.Result {
	uid, gid := d.privilegesOf(s)
	if d.seen.duplicate(fmt.Sprintf("command %s %d", s.name, uid), text) {
		return outcome.Done
	}
	if d.probing() {
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "delivers to command: " + text})
	}
	dir := ""
	if d.execDir != "" {
		var err error
		if dir, err = macro.Expand(d.execDir, d.names(s), macro.Options{Once: true, Allowed: d.execDirFilter}); err != nil {
			maillog.Warnf("%v", err)
			maillog.Warnf("bad parameter value syntax for command_execution_directory: %s", d.execDir)
			return d.later(s, "4.3.5", "mail system configuration error")
		}
	}
	c := mailbox.Command{
		Program: "local", Text: text, Shell: d.shell, Dir: dir, UID: uid, GID: gid,
		Env: append(append([]string(nil), d.env...), d.environment(s)...), Limit: d.timeLimit,
	}
	options := d.copyOptions(s, "command")
	options.Quote, options.Blank = false, false
	_, v, err := c.Run(d.ctx, d.req, options)
	if _, isCorrupt := d.describe(err); isCorrupt == errCorrupt {
		return outcome.Retry
	}
	if err != nil {
		return d.ownerFailed(s, v)
	}
	return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "delivered to command: " + text})
}

// environment is what a command learns about the message (spec delivery §8.5).
func (d *delivery) environment(s state) []string {
	var env []string
	set := func(name, value string, present bool) {
		if present {
			env = append(env, name+"="+filterValue(value, d.commandFilter))
		}
	}
	if s.user != nil {
		set("HOME", s.user.Home, true)
		set("SHELL", s.user.Shell, true)
	}
	set("LOGNAME", s.name, true)
	set("USER", s.name, true)
	set("SENDER", s.sender, true)
	set("RECIPIENT", s.rcpt.Address, true)
	set("LOCAL", s.local, true)
	set("DOMAIN", s.domain, s.domain != "")
	set("EXTENSION", s.extension, s.hasExtension)
	for _, v := range []struct{ name, value string }{
		{"ORIGINAL_RECIPIENT", s.rcpt.Original}, {"ENVID", d.req.EnvelopeID},
		{"CLIENT_HOSTNAME", d.req.ClientName}, {"CLIENT_ADDRESS", d.req.ClientAddress},
		{"CLIENT_HELO", d.req.ClientHelo}, {"CLIENT_PROTOCOL", d.req.ClientProtocol},
		{"SASL_METHOD", d.req.SASLMethod}, {"SASL_SENDER", d.req.SASLSender}, {"SASL_USERNAME", d.req.SASLUsername},
	} {
		set(v.name, v.value, v.value != "")
	}
	return env
}

func filterValue(value, allowed string) string {
	b := []byte(value)
	for i, c := range b {
		if strings.IndexByte(allowed, c) < 0 {
			b[i] = '_'
		}
	}
	return string(b)
}

// mailbox delivers to the user's own mailbox, or to what stands for it
// (spec delivery §8.6).
func (d *delivery) mailbox(s state) outcome.Result {
	if d.seen.duplicate("mailbox", s.local) {
		return outcome.Done
	}
	transport, found, err := d.mailboxTransports.Find(s.name)
	if err != nil {
		return d.later(s, "4.3.0", "table lookup failure")
	}
	if !found {
		transport = d.mailboxTransport
	}
	if transport != "" {
		return d.pass(s, transport)
	}
	user, result, ok := d.passwd(s)
	if !ok {
		return result
	}
	if user == nil {
		return d.unknown(s)
	}
	s.user = user
	if !d.frozenDelivered {
		s.delivered = s.rcpt.Address
	}
	command, found, err := d.mailboxCommands.Find(s.name)
	if err != nil {
		return d.later(s, "4.3.0", "table lookup failure")
	}
	if !found {
		command = d.mailboxCommand
	}
	home := strings.TrimSuffix(user.Home, "/") + "/" + d.homeMailbox
	switch {
	case command != "":
		return d.command(s, command)
	case strings.HasSuffix(d.homeMailbox, "/"):
		return d.maildir(s, home, user.UID, user.GID, false)
	case strings.HasSuffix(d.spool, "/"):
		return d.maildir(s, d.spool+s.name+"/", user.UID, user.GID, false)
	case d.homeMailbox != "":
		return d.mbox(s, home)
	}
	return d.mbox(s, d.spool+"/"+s.name)
}

func (d *delivery) maildir(s state, dir string, uid, gid int, listed bool) outcome.Result {
	if d.probing() {
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "delivers to maildir"})
	}
	var v dsn.DSN
	err := account.AsUser(uid, gid, []int{gid}, func() (err error) {
		v, err = mailbox.DeliverMaildir(d.req, dir, d.maildirOptions(s), "5.2.0", d.sizeLimit)
		return err
	})
	switch {
	case err == nil:
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "delivered to maildir"})
	case v.Status == "" || isCorrupt(err):
		if v, err = d.describe(err); err == errCorrupt {
			return outcome.Retry
		}
	}
	if listed {
		return d.ownerFailed(s, v)
	}
	return d.failed(s, v)
}

func isCorrupt(err error) bool {
	var copying *mailbox.CopyError
	return errors.As(err, &copying) && copying.Corrupt
}

// mbox appends to the user's mailbox file.
func (d *delivery) mbox(s state, path string) outcome.Result {
	if d.probing() {
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "delivers to mailbox"})
	}
	uid, gid, root := d.mboxIdentity(s, path)
	start := int64(0)
	open := func() (m *mailbox.Mbox, err error) {
		_, statErr := os.Stat(path)
		if m, err = mailbox.OpenMbox(path, d.locking, "5.2.0", false); err != nil {
			return nil, err
		}
		if root && errors.Is(statErr, os.ErrNotExist) {
			if err := m.Chown(s.user.UID, s.user.GID); err != nil {
				maillog.Warnf("%s: cannot change file ownership: %s", path, syserr.Text(err))
			}
			if m.Info, err = m.Stat(); err != nil {
				m.Close()
				return nil, err
			}
		}
		return m, nil
	}
	write := func(m *mailbox.Mbox) (err error) {
		if err := d.checkMbox(s, path, m); err != nil {
			return err
		}
		start, err = m.Append(d.req, d.copyOptions(s, "file"), d.sizeLimit)
		return err
	}
	var err error
	if root {
		// The spool directory is root's: only opening and locking need its
		// rights, the message is written with the user's.
		var m *mailbox.Mbox
		if m, err = open(); err == nil {
			err = account.AsUser(s.user.UID, s.user.GID, []int{s.user.GID}, func() error { return write(m) })
			m.Close()
		}
	} else {
		err = account.AsUser(uid, gid, []int{gid}, func() error {
			m, err := open()
			if err != nil {
				return err
			}
			defer m.Close()
			return write(m)
		})
	}
	if err == nil {
		if d.biff {
			notifyBiff(s.name, start)
		}
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "delivered to mailbox"})
	}
	v, err := d.describe(err)
	if err == errCorrupt {
		return outcome.Retry
	}
	v.Reason = fmt.Sprintf("cannot update mailbox %s for user %s. %s", path, s.name, v.Reason)
	return d.failed(s, v)
}

// mboxIdentity decides with whose rights a mailbox is opened.
func (d *delivery) mboxIdentity(s state, path string) (uid, gid int, root bool) {
	uid, gid = s.user.UID, s.user.GID
	if d.homeMailbox != "" || os.Geteuid() != 0 {
		return uid, gid, false
	}
	info, err := os.Stat(d.spool)
	switch {
	case err != nil || info.Mode()&0o002 != 0:
		return uid, gid, false
	case info.Mode()&0o020 != 0:
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			gid = int(st.Gid)
		}
		return uid, gid, false
	}
	return uid, gid, true
}

func (d *delivery) checkMbox(s state, path string, m *mailbox.Mbox) error {
	if !m.Info.Mode().IsRegular() {
		return &mailbox.OpenError{Reason: fmt.Sprintf("destination %s is not a regular file", path), Status: "5.2.0"}
	}
	st, ok := m.Info.Sys().(*syscall.Stat_t)
	if ok && d.strictOwnership && int(st.Uid) != s.user.UID {
		maillog.Warnf("specify \"strict_mailbox_ownership = no\" to ignore mailbox ownership mismatch")
		return &mailbox.OpenError{Reason: fmt.Sprintf("destination %s is not owned by recipient", path), Status: "4.2.0"}
	}
	return nil
}

// notifyBiff tells a mail reader's helper where new mail begins.
func notifyBiff(user string, offset int64) {
	c, err := net.Dial("udp", "localhost:512")
	if err != nil {
		maillog.Warnf("biff_notify: %s", syserr.Text(err))
		return
	}
	defer c.Close()
	if _, err := c.Write([]byte(user + "@" + strconv.FormatInt(offset, 10) + "\x00")); err != nil {
		maillog.Warnf("biff_notify: %s", syserr.Text(err))
	}
}

// unknown handles a name that is neither alias nor user (spec delivery §8.7).
func (d *delivery) unknown(s state) outcome.Result {
	transport, found, err := d.fallbackTransport.Find(s.name)
	if err != nil {
		return d.later(s, "4.3.0", "table lookup failure")
	}
	if !found {
		transport = d.fallback
	}
	if transport != "" {
		return d.pass(s, transport)
	}
	if d.luserRelay != "" {
		s.user = nil
		target, err := macro.Expand(d.luserRelay, d.names(s), macro.Options{Once: true})
		if err != nil {
			maillog.Warnf("%v", err)
			return d.later(s, "4.3.5", "mail system configuration error")
		}
		full, err := d.canonical(target)
		if err != nil {
			return d.later(s, "4.3.0", "address resolver failure")
		}
		if strings.EqualFold(full, s.rcpt.Address) {
			return d.bounce(s, "5.1.1", fmt.Sprintf("unknown user: \"%s\"", s.name))
		}
		s.unmatched = ""
		return d.address(s, target)
	}
	if s.name == "postmaster" || s.name == "mailer-daemon" {
		maillog.Warnf("required alias not found: %s", s.name)
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "discarded"})
	}
	return d.bounce(s, "5.1.1", fmt.Sprintf("unknown user: \"%s\"", s.name))
}

// pass hands the recipient to another delivery agent (spec delivery §8.11).
func (d *delivery) pass(s state, target string) outcome.Result {
	transport, nexthop, _ := strings.Cut(target, ":")
	if transport == "" {
		maillog.Warnf("missing transport name in \"%s\"", target)
		return d.later(s, "4.3.5", "mail system configuration error")
	}
	if nexthop == "" {
		nexthop = d.req.NextHop
	}
	request := *d.req
	request.Sender, request.EnvelopeID, request.Ret = s.sender, s.envelopeID, s.ret
	return request.Pass(d.ctx, transport, nexthop, s.rcpt, d.ipcTimeout, d.dialect37)
}
