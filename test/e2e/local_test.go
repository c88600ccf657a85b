package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// makeLocal puts aliases and forwarding files in place.
func (c *common) makeLocal() error {
	if err := os.Mkdir(c.boxes(), 0o755); err != nil {
		return err
	}
	// Everybody has a mailbox below, as in /var/mail.
	if err := os.Chmod(c.boxes(), 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(c.Dir, "home"), 0o755); err != nil {
		return err
	}
	list := filepath.Join(c.Config(), "list")
	aliases := strings.Join([]string{
		"team " + c.user.Name + ", alias-member@" + virtualDomain,
		"nested team, |wrong, alias-other@" + virtualDomain,
		"to-file " + filepath.Join(c.boxes(), "file"),
		`to-command "|cat >` + filepath.Join(c.boxes(), "command") + `; echo $SENDER $RECIPIENT >>` + filepath.Join(c.boxes(), "command") + `"`,
		`failing "|printf '5.3.1 out of order'; exit 1"`,
		`busy "|exit 75"`,
		"included :include:" + list,
		"loop-a loop-b", "loop-b loop-a",
		"owner-owned owner@" + virtualDomain,
		"owned owned-member@" + virtualDomain,
	}, "\n") + "\n"
	for name, text := range map[string]string{
		"aliases": aliases,
		"list":    "# members\nincluded-member@" + virtualDomain + "\n\"|touch " + filepath.Join(c.boxes(), "forbidden") + "\"\n",
	} {
		if err := c.configure(name, text); err != nil {
			return err
		}
	}
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"forward+away": {`\` + c.user.Name + "+kept, forward-target@" + virtualDomain + "\n", 0o644},
		"forward+open": {"forward-open@" + virtualDomain + "\n", 0o666},
		"forward+run":  {`"|cat >` + filepath.Join(c.boxes(), "run") + "\"\n", 0o644},
	} {
		path := filepath.Join(c.Dir, "home", name)
		if err := os.WriteFile(path, []byte(f.text), f.mode); err != nil {
			return err
		}
		if err := os.Chmod(path, f.mode); err != nil {
			return err
		}
		if err := os.Chown(path, c.user.UID, c.user.GID); err != nil {
			return err
		}
	}
	return nil
}

func (c *common) awaitLocal(t *testing.T, text string) string {
	t.Helper()
	var list []string
	err := poll("local mail with "+text, func() (bool, error) {
		var err error
		list, err = c.localMail(text)
		return len(list) > 0, err
	})
	if err != nil {
		t.Fatal(err, "\n", c.logTail())
	}
	return list[0]
}

// plain is a message of little meaning, with a text to find it by.
func plain(from, to, text string) string { return header(from, to) + "\r\n" + text + "\r\n" }

// TestLocalMailbox delivers to a user of the system.
func TestLocalMailbox(t *testing.T) {
	c := shared(t)
	to := c.user.Name + "@" + localDomain
	id := c.send(t, "sender@client.test", to, plain("sender@client.test", to, "for a local user"))
	got := c.awaitLocal(t, "for a local user")
	if want := "Return-Path: <sender@client.test>\nX-Original-To: " + to + "\nDelivered-To: " + to + "\nReceived: "; !strings.HasPrefix(got, want) {
		t.Errorf("the message begins with\n%.300s\nwant\n%s", got, want)
	}
	c.awaitLog(t, regexp.QuoteMeta(id)+`: to=<`+to+`>, relay=local, delay=[\d.]+, delays=[\d./]+, dsn=2\.0\.0, status=sent \(delivered to maildir\)`)
}

// TestAliases expands aliases to users, addresses, files and commands.
func TestAliases(t *testing.T) {
	c := shared(t)
	from := "aliases@client.test"
	send := func(name string) string {
		t.Helper()
		return c.send(t, from, name+"@"+localDomain, plain(from, name, "by alias "+name))
	}
	send("team")
	c.awaitLocal(t, "by alias team")
	if m := c.awaitMail(t, "alias-member@"+virtualDomain); !strings.Contains(m, "\nDelivered-To: team@"+localDomain+"\n") {
		t.Errorf("no trace of the alias in\n%s", m)
	}
	send("to-file")
	file := c.awaitFile(t, "file", "by alias to-file\n\n")
	if !regexp.MustCompile(`^From aliases@client\.test  \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\nReturn-Path: <aliases@client\.test>\nX-Original-To: to-file@suffix\.test\nDelivered-To: to-file@suffix\.test\nReceived: `).MatchString(file) {
		t.Errorf("the file begins with\n%.300s", file)
	}
	send("to-command")
	c.awaitFile(t, "command", "by alias to-command\n"+from+" to-command@"+localDomain+"\n")

	id := send("failing")
	c.awaitLog(t, id+`: to=<failing@suffix\.test>, relay=local, .*dsn=5\.3\.1, status=bounced \(out of order\)`)
	id = send("busy")
	c.awaitLog(t, id+`: to=<busy@suffix\.test>, relay=local, .*dsn=4\.3\.0, status=deferred \(temporary failure\)`)
	c.awaitQueued(t, id, "deferred")

	send("owned")
	if m := c.awaitMail(t, "owned-member@"+virtualDomain); !strings.HasPrefix(m, "Return-Path: <owner-owned@"+localDomain+">\n") {
		t.Errorf("the sender is not the owner in\n%.300s", m)
	}
	id = send("loop-a")
	c.awaitLog(t, id+`: to=<loop-[ab]@suffix\.test>, .*dsn=5\.4\.6, status=bounced \((recipient nesting limit exceeded|alias database loop for .*)\)`)
}

// awaitFile waits until a file of the local domain ends with a text.
func (c *common) awaitFile(t *testing.T, name, end string) string {
	t.Helper()
	var content []byte
	err := poll(fmt.Sprintf("file %s with %q at its end", name, end), func() (bool, error) {
		var err error
		content, err = os.ReadFile(filepath.Join(c.boxes(), name))
		if os.IsNotExist(err) {
			return false, nil
		}
		return strings.HasSuffix(string(content), end), err
	})
	if err != nil {
		t.Fatalf("%v; it has %q\n%s", err, content, c.logTail())
	}
	return string(content)
}

// TestIncludeMayNotRun has a command in a file of addresses, where only
// addresses are allowed.
func TestIncludeMayNotRun(t *testing.T) {
	c := shared(t)
	from := "include@client.test"
	id := c.send(t, from, "included@"+localDomain, plain(from, "included", "by include"))
	c.awaitLog(t, id+`: to=<included@suffix\.test>, relay=local, .*dsn=5\.7\.1, status=bounced \(mail to command is restricted\)`)
	c.awaitQueued(t, id, "")
	if _, err := os.Stat(filepath.Join(c.boxes(), "forbidden")); !os.IsNotExist(err) {
		t.Errorf("the command has run: %v", err)
	}
}

// TestForward uses files of a user: one with addresses, one with a command, and
// one that anybody could have written, which counts for nothing.
func TestForward(t *testing.T) {
	c := shared(t)
	from := "forward@client.test"
	send := func(extension string) string {
		t.Helper()
		to := c.user.Name + "+" + extension + "@" + localDomain
		return c.send(t, from, to, plain(from, to, "with extension "+extension))
	}
	send("away")
	c.awaitMail(t, "forward-target@"+virtualDomain)
	c.awaitLocal(t, "with extension away")
	send("run")
	c.awaitFile(t, "run", "with extension run\n")
	send("open")
	c.awaitLocal(t, "with extension open")
	c.awaitLog(t, `local\[\d+\]: warning: file \S+/forward\+open is world writable`)
	if list, err := c.mailFor("forward-open@" + virtualDomain); err != nil || len(list) > 0 {
		t.Errorf("mail went where the open file says: %d, %v", len(list), err)
	}
}
