package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"suffix/pkg/account"
	"suffix/test/e2e/peer"
	"suffix/test/instance"
)

// Domains of the common system, besides the virtual one.
const (
	relayDomain   = "relay.test"   // all mail goes to the SMTP sink
	lmtpDomain    = "lmtp.test"    // all mail goes to the LMTP sink
	errorDomain   = "error.test"   // transport error:
	discardDomain = "discard.test" // transport discard:
	localDomain   = "suffix.test"
	virtualDomain = instance.Domain
)

// common is one system for all tests that can share it.
type common struct {
	*system
	smtp, lmtp *peer.Sink
	user       *account.User // has a mailbox of the local domain

	mu      sync.Mutex
	replies map[string]string // of the sinks, by recipient
}

// reply makes the sinks answer RCPT for an address; "" ends that.
func (c *common) reply(addr, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text == "" {
		delete(c.replies, addr)
	} else {
		c.replies[addr] = text
	}
}

func (c *common) answer(verb, argument string) string {
	if verb != "RCPT" {
		return ""
	}
	path, _, _ := strings.Cut(argument, ">")
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replies[strings.TrimPrefix(path, "<")]
}

// started says that theCommon was called.
var started atomic.Bool

var theCommon = sync.OnceValues(func() (*common, error) {
	started.Store(true)
	c := &common{replies: make(map[string]string)}
	var err error
	if c.smtp, err = peer.NewSink(peer.SinkOptions{Reply: c.answer}); err != nil {
		return nil, err
	}
	if c.lmtp, err = peer.NewSink(peer.SinkOptions{LMTP: true, Reply: c.answer}); err != nil {
		return nil, err
	}
	if c.user, err = localUser(); err != nil {
		return nil, err
	}
	table := func(name string) string { return "texthash:$config_directory/" + name }
	c.system, err = create(plan{
		main: map[string]string{
			"transport_maps":       table("transport"),
			"canonical_maps":       table("canonical"),
			"virtual_alias_maps":   table("virtual"),
			"alias_maps":           table("aliases"),
			"recipient_bcc_maps":   table("bcc"),
			"recipient_delimiter":  "+",
			"forward_path":         "DIR/home/forward${recipient_delimiter}${extension}",
			"mail_spool_directory": "DIR/boxes/",
			// Delays that a test should not see.
			"minimal_backoff_time": "1000s",
			"queue_run_delay":      "1000s",
		},
		files: map[string]string{
			"transport": fmt.Sprintf("%s smtp:%s\n%s lmtp:inet:127.0.0.1:%d\n%s error:5.7.9 mail for this domain is refused\n%s discard:nobody wants it\n",
				relayDomain, c.smtp.NextHop(), lmtpDomain, c.lmtp.Port(), errorDomain, discardDomain) +
				"client.test discard:notices for clients\n",
			"canonical": "old-name@" + virtualDomain + " new-name@" + virtualDomain + "\n",
			"virtual": "one-to-two@" + localDomain + " first@" + virtualDomain + ", second@" + virtualDomain + "\n" +
				"bounce-sender@" + localDomain + " bounce-sender@" + virtualDomain + "\n",
			"bcc": "watched@" + virtualDomain + " watcher@" + virtualDomain + "\n",
		},
	})
	if err != nil {
		return nil, err
	}
	if err := c.makeLocal(); err != nil {
		return nil, err
	}
	c.sinks = []*peer.Sink{c.smtp, c.lmtp}
	register(c.system, true)
	return c, c.Start()
})

// shared is the common system, for a test that runs beside others.
func shared(t *testing.T) *common {
	t.Helper()
	t.Parallel()
	c, err := theCommon()
	if err != nil {
		if c != nil && c.system != nil {
			t.Log(c.logTail())
		}
		t.Fatal(err)
	}
	return c
}

// localUser is an account without special rights whose mail can be delivered
// here: as root any, else one's own.
func localUser() (*account.User, error) {
	if uid := os.Getuid(); uid != 0 {
		return account.LookupUID(uid)
	}
	for _, name := range []string{"daemon", "bin", "games", "nobody"} {
		if u, err := account.Lookup(name); err == nil && u.UID != 0 && u.GID != 0 {
			return u, nil
		}
	}
	return nil, fmt.Errorf("there is no account without rights")
}

// boxes is where the mailboxes of the local domain are.
func (c *common) boxes() string { return filepath.Join(c.Dir, "boxes") }

// localMail lists the messages for the local user that have a text.
func (c *common) localMail(text string) ([]string, error) {
	dir := filepath.Join(c.boxes(), c.user.Name, "new")
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(content), text) {
			list = append(list, string(content))
		}
	}
	return list, nil
}

// finish looks at what the tests have left of the common system.
func (c *common) finish() error {
	if err := c.healthy(); err != nil {
		return err
	}
	for _, sink := range c.sinks {
		if faults := sink.Faults(); len(faults) > 0 {
			return fmt.Errorf("the client broke the protocol: %s", faults)
		}
	}
	return nil
}
