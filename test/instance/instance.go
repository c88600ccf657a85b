// Package instance makes private instances of the mail system: configuration,
// queue, data and mailboxes below one directory, as any user.
//
// As root, the daemons run as the postfix account where there is one, else as
// nobody; as another user, everything runs as that user, and nothing changes
// identity.
package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/account"
)

// Options of a new instance.
type Options struct {
	Dir  string // of the instance, absolute
	Bin  string // with the commands; daemons in its subdirectory libexec
	Port int    // of the SMTP service on 127.0.0.1; 0: one that is free

	// Foreign says that Bin has the programs of another Postfix: they are
	// used as they are installed.
	Foreign bool

	Main    map[string]string // further settings for main.cf
	Entries []string          // further lines for master.cf
}

// An Instance is a mail system below one directory.
type Instance struct {
	Dir   string
	Bin   string
	Port  int
	Owner *account.User // mail_owner
	Group string        // setgid_group
}

// Domain has a mailbox for every name, below Maildir.
const Domain = "mail.suffix.test"

// Config is the configuration directory.
func (in *Instance) Config() string { return filepath.Join(in.Dir, "etc") }

// Queue is the queue directory.
func (in *Instance) Queue() string { return filepath.Join(in.Dir, "spool") }

// Log is the log file.
func (in *Instance) Log() string { return filepath.Join(in.Dir, "log", "maillog") }

// Maildir is the mailbox of everybody in Domain.
func (in *Instance) Maildir() string { return filepath.Join(in.Dir, "mail", "inbox") }

// Address is where the SMTP service listens.
func (in *Instance) Address() string { return "127.0.0.1:" + strconv.Itoa(in.Port) }

// Create makes or renews the configuration of an instance. An existing queue
// and its mail stay.
func Create(o Options) (*Instance, error) {
	in := &Instance{Dir: o.Dir, Bin: o.Bin, Port: o.Port}
	if !filepath.IsAbs(in.Dir) || !filepath.IsAbs(in.Bin) {
		return nil, fmt.Errorf("instance %s with programs in %s: not absolute", in.Dir, in.Bin)
	}
	if in.Port == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		in.Port = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	if err := in.chooseUser(); err != nil {
		return nil, err
	}
	for _, dir := range []string{"", "etc", "spool", "log", "mail"} {
		if err := os.MkdirAll(filepath.Join(in.Dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	if os.Getuid() == 0 {
		if err := in.checkPath(); err != nil {
			return nil, err
		}
		if err := os.Chown(filepath.Join(in.Dir, "mail"), in.Owner.UID, in.Owner.GID); err != nil {
			return nil, err
		}
		if !o.Foreign {
			if err := in.permitSubmission(); err != nil {
				return nil, err
			}
		}
	}
	files := map[string]string{"main.cf": in.mainCF(o), "master.cf": in.masterCF(o), "postfix-files": postfixFiles}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(in.Config(), name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	// Programs read a main.cf again and again that has changed in the last
	// moments.
	past := time.Now().Add(-time.Hour)
	return in, os.Chtimes(filepath.Join(in.Config(), "main.cf"), past, past)
}

// chooseUser finds the identities of the instance.
func (in *Instance) chooseUser() error {
	if uid := os.Getuid(); uid != 0 {
		u, err := account.LookupUID(uid)
		if err != nil {
			return err
		}
		g, err := account.LookupGID(os.Getgid())
		if err != nil {
			return err
		}
		in.Owner, in.Group = u, g.Name
		return nil
	}
	for _, name := range []string{"postfix", "nobody"} {
		if u, err := account.Lookup(name); err == nil && u.UID != 0 {
			in.Owner = u
			break
		}
	}
	if in.Owner == nil {
		return errors.New("there is neither an account postfix nor one nobody")
	}
	for _, name := range []string{"postdrop", "mail", "uucp", "news", "games"} {
		if g, err := account.LookupGroup(name); err == nil && g.GID != in.Owner.GID && g.GID != 0 {
			in.Group = g.Name
			return nil
		}
	}
	return errors.New("there is no group for setgid_group")
}

// defaultPrivs is an account with no rights, other than mail_owner.
func (in *Instance) defaultPrivs() string {
	for _, name := range []string{"nobody", "daemon", "bin", "games"} {
		u, err := account.Lookup(name)
		if err == nil && u.UID != 0 && u.GID != 0 && u.UID != in.Owner.UID && u.GID != in.Owner.GID {
			return name
		}
	}
	return "nobody"
}

// checkPath makes sure that mail_owner can reach the instance.
func (in *Instance) checkPath() error {
	for dir := in.Dir; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("the user %s, as whom the daemons run, cannot enter %s: move the working copy to another place, or permit it with chmod o+x", in.Owner.Name, dir)
		}
	}
	return nil
}

// permitSubmission makes the commands set-gid that other users need for access
// to the queue.
func (in *Instance) permitSubmission() error {
	group, err := account.LookupGroup(in.Group)
	if err != nil {
		return err
	}
	for _, name := range []string{"postdrop", "postqueue", "postlog"} {
		path := filepath.Join(in.Bin, name)
		err := os.Chown(path, 0, group.GID)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.Chmod(path, 0o755|fs.ModeSetgid); err != nil {
			return err
		}
	}
	return nil
}

func (in *Instance) mainCF(o Options) string {
	bin := in.Bin
	settings := map[string]string{
		"compatibility_level":      "3.11",
		"queue_directory":          in.Queue(),
		"data_directory":           filepath.Join(in.Dir, "data"),
		"command_directory":        bin,
		"daemon_directory":         filepath.Join(bin, "libexec"),
		"sendmail_path":            filepath.Join(bin, "sendmail"),
		"mailq_path":               filepath.Join(bin, "mailq"),
		"newaliases_path":          filepath.Join(bin, "newaliases"),
		"meta_directory":           in.Config(),
		"shlib_directory":          "no",
		"mail_owner":               in.Owner.Name,
		"setgid_group":             in.Group,
		"default_privs":            in.defaultPrivs(),
		"myhostname":               "suffix.test",
		"mydestination":            "$myhostname",
		"mynetworks":               "127.0.0.0/8",
		"inet_interfaces":          "127.0.0.1",
		"inet_protocols":           "ipv4",
		"alias_maps":               "",
		"alias_database":           "",
		"mail_spool_directory":     filepath.Join(in.Dir, "mail") + "/",
		"maillog_file":             in.Log(),
		"maillog_file_prefixes":    in.Dir,
		"smtp_tls_security_level":  "none",
		"smtpd_tls_security_level": "none",
		// Every name of the domain has one mailbox.
		"virtual_mailbox_domains": Domain,
		"virtual_mailbox_base":    filepath.Join(in.Dir, "mail"),
		"virtual_mailbox_maps":    "static:inbox/",
		"virtual_uid_maps":        "static:" + strconv.Itoa(in.Owner.UID),
		"virtual_gid_maps":        "static:" + strconv.Itoa(in.Owner.GID),
		"virtual_minimum_uid":     "1",
	}
	for name, value := range o.Main {
		settings[name] = value
	}
	var lines []string
	for name, value := range settings {
		lines = append(lines, name+" = "+value+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// stockServices are those of an installation, without network services.
const stockServices = `pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

func (in *Instance) masterCF(o Options) string {
	text := in.Address() + " inet n - n - - smtpd\n" + stockServices
	for _, line := range o.Entries {
		text += line + "\n"
	}
	return text
}

// postfixFiles lists what "postfix start" makes below the queue and data
// directories.
const postfixFiles = `$data_directory:d:$mail_owner:-:700:uc
$queue_directory:d:root:-:755:uc
$queue_directory/active:d:$mail_owner:-:700:ucr
$queue_directory/bounce:d:$mail_owner:-:700:ucr
$queue_directory/corrupt:d:$mail_owner:-:700:ucr
$queue_directory/defer:d:$mail_owner:-:700:ucr
$queue_directory/deferred:d:$mail_owner:-:700:ucr
$queue_directory/flush:d:$mail_owner:-:700:ucr
$queue_directory/hold:d:$mail_owner:-:700:ucr
$queue_directory/incoming:d:$mail_owner:-:700:ucr
$queue_directory/private:d:$mail_owner:-:700:uc
$queue_directory/maildrop:d:$mail_owner:$setgid_group:730:uc
$queue_directory/public:d:$mail_owner:$setgid_group:710:uc
$queue_directory/pid:d:root:-:755:uc
$queue_directory/saved:d:$mail_owner:-:700:ucr
$queue_directory/trace:d:$mail_owner:-:700:ucr
$queue_directory/tlstrace:d:$mail_owner:-:700:ucr
`

// Command prepares a program of the mail system to run on this instance.
func (in *Instance) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(in.Bin, name), args...)
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+in.Config())
	return cmd
}

// Control runs postfix(1) with the given command. The error has its output.
func (in *Instance) Control(command string) error {
	out, err := in.Command("postfix", command).CombinedOutput()
	if err != nil {
		return fmt.Errorf("postfix %s: %w\n%s", command, err, out)
	}
	return nil
}

// Start starts the mail system; it returns when the sockets are there.
func (in *Instance) Start() error { return in.Control("start") }

// Stop ends it.
func (in *Instance) Stop() error { return in.Control("stop") }

// Messages returns the contents of the mailbox of Domain, oldest first as far
// as the names tell.
func (in *Instance) Messages() ([]string, error) {
	dir := filepath.Join(in.Maildir(), "new")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		list = append(list, string(content))
	}
	return list, nil
}
