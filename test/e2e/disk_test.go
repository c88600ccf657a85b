package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"suffix/test/e2e/peer"

	"golang.org/x/sys/unix"
)

// smallDisk puts a file system of its own below a directory of the instance,
// where the system permits that. It lasts as long as the test.
func smallDisk(t *testing.T, s *system, dir string, size int) bool {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	if err := unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", size)); err != nil {
		t.Logf("no file system of its own for %s: %v", dir, err)
		return false
	}
	if os.Getuid() == 0 {
		must(t, os.Chown(dir, s.Owner.UID, s.Owner.GID))
	}
	t.Cleanup(func() {
		s.kill()
		must(t, unix.Unmount(dir, 0))
	})
	return true
}

// fill writes a file until the disk has only so much left, and returns what
// makes the room free again.
func fill(t *testing.T, dir string, leave int) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	info, err := f.Stat()
	must(t, err)
	must(t, f.Truncate(max(0, info.Size()-int64(leave))))
	return func() { must(t, os.Remove(path)) }
}

// big is a message of so many bytes.
func big(to string, size int) string {
	return header("disk@client.test", to) + "\r\n" + strings.Repeat(strings.Repeat("x", 78)+"\r\n", size/80)
}

// TestFullDisk fills the queue's disk in the middle of a message. The client
// must hear of it, the daemons live on, and nothing that was accepted is lost.
// Where no small disk can be had, the limits of file size and free space stand
// for it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := prepare(t, plan{main: map[string]string{"message_size_limit": "100000", "mailbox_size_limit": "0", "virtual_mailbox_limit": "0", "smtpd_hard_error_limit": "10000"}})
	small := smallDisk(t, s, s.Queue(), 4<<20)
	must(t, s.Start())
	to := "full@" + virtualDomain
	s.send(t, "disk@client.test", to, plain("disk@client.test", to, "before"))
	s.awaitMails(t, to, 1)
	s.awaitEmpty(t)
	before := s.daemons("smtpd")

	c := s.dial(t)
	must(t, c.Begin("<disk@client.test>", "<"+to+">"))
	if small {
		free := fill(t, s.Queue(), 40_000)
		r, err := c.Data(big(to, 90_000))
		must(t, err)
		if want := "451 4.3.0 Error: queue file write error"; r.String() != want {
			t.Errorf("reply %q, want %q", r, want)
		}
		s.awaitLog(t, `cleanup\[\d+\]: warning: \w+: write queue file: No space left on device`)
		// The server does not look for each client how much space is left.
		must(t, poll("refusal for lack of space", func() (bool, error) {
			if _, err := c.Expect("RSET", "250"); err != nil {
				return false, err
			}
			r, err := c.Do("MAIL FROM:<disk@client.test>")
			if err == nil && r.Code == "250" {
				return false, nil
			}
			if want := "452 4.3.1 Insufficient system storage"; err == nil && r.String() != want {
				err = fmt.Errorf("reply %q, want %q", r, want)
			}
			return true, err
		}))
		s.awaitLog(t, `smtpd\[\d+\]: warning: not enough free space in mail queue: \d+ bytes < 1\.5\*message size limit`)
		cmd := s.Command("sendmail", "-f", "disk@client.test", to)
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(big(to, 90_000), "\r\n", "\n"))
		text, code := status(t, cmd)
		if code != 75 || !strings.Contains(text, "sendmail: fatal: ") {
			t.Errorf("sendmail: exit status %d, %q", code, text)
		}
		free()
		must(t, poll("space again", func() (bool, error) {
			r, err := c.Do("MAIL FROM:<disk@client.test>")
			return r.Code == "250", err
		}))
		_, err = c.Expect("RCPT TO:<"+to+">", "250")
		must(t, err)
	}
	r, err := c.Data(big(to, 110_000))
	must(t, err)
	if want := "552 5.3.4 Error: message file too big"; r.String() != want {
		t.Errorf("reply %q, want %q", r, want)
	}
	s.awaitLog(t, `smtpd\[\d+\]: warning: \w+: queue file size limit exceeded`)

	// The session and the daemons are as good as ever.
	must(t, c.Envelope("<disk@client.test>", "<"+to+">"))
	r, err = c.Data(plain("disk@client.test", to, "after"))
	must(t, err)
	_, err = peer.QueueID(r)
	must(t, err)
	must(t, c.Quit())
	all := strings.Join(s.awaitMails(t, to, 2), "")
	if !strings.Contains(all, "\nbefore\n") || !strings.Contains(all, "\nafter\n") {
		t.Errorf("the messages are\n%s", all)
	}
	s.awaitEmpty(t)
	if after := s.daemons("smtpd"); len(before) != 1 || len(after) != 1 || before[0].pid != after[0].pid {
		t.Errorf("smtpd processes %v, then %v", before, after)
	}
	for _, dir := range []string{"incoming", "maildrop"} {
		entries, err := os.ReadDir(filepath.Join(s.Queue(), dir))
		must(t, err)
		for _, e := range entries {
			// What sendmail could not finish stays until it is old.
			if dir == "incoming" {
				t.Errorf("%s/%s is left behind", dir, e.Name())
			}
		}
	}
}

// TestMinimumFreeSpace asks for more free space than any disk has.
func TestMinimumFreeSpace(t *testing.T) {
	t.Parallel()
	s := start(t, plan{main: map[string]string{"queue_minfree": "1000000000000000000"}})
	c := s.dial(t)
	_, err := c.Expect("EHLO client.test", "250")
	must(t, err)
	r, err := c.Do("MAIL FROM:<disk@client.test>")
	must(t, err)
	if want := "452 4.3.1 Insufficient system storage"; r.String() != want {
		t.Errorf("reply %q, want %q", r, want)
	}
	s.awaitLog(t, `smtpd\[\d+\]: NOQUEUE: reject: MAIL from localhost\[127\.0\.0\.1\]: 452 4\.3\.1 Insufficient system storage; proto=ESMTP helo=<client\.test>`)
	// Local mail has another way in.
	to := "minfree@" + virtualDomain
	s.submit(t, "Subject: local\n\ntext\n", "-f", "disk@client.test", to)
	s.awaitMail(t, to)
}

// TestFullMailbox has no room for delivery: the message waits, or bounces where
// the limit is the mailbox's own, and leaves no part of it.
func TestFullMailbox(t *testing.T) {
	t.Parallel()
	s := prepare(t, plan{main: map[string]string{
		"virtual_mailbox_maps":  "inline:{roomy@mail.suffix.test=inbox/, disk@mail.suffix.test=disk/box/, mbox@mail.suffix.test=mbox}",
		"virtual_mailbox_limit": "200000", "message_size_limit": "150000", "mailbox_size_limit": "0", "virtual_mailbox_lock": "fcntl",
	}})
	disk := filepath.Join(s.Dir, "mail", "disk")
	small := smallDisk(t, s, disk, 1<<20)
	must(t, s.Start())
	sender := "roomy@" + virtualDomain
	if small {
		free := fill(t, disk, 20_000)
		id := s.send(t, sender, "disk@"+virtualDomain, big("disk", 100_000))
		s.awaitLog(t, id+`: to=<disk@mail\.suffix\.test>, relay=virtual, .*dsn=4\.3\.0, status=deferred \(maildir delivery failed: error writing message: No space left on device\)`)
		s.awaitQueued(t, id, "deferred")
		for _, sub := range []string{"tmp", "new"} {
			entries, err := os.ReadDir(filepath.Join(disk, "box", sub))
			if err != nil && !os.IsNotExist(err) || len(entries) > 0 {
				t.Errorf("%s of the maildir has %v, %v", sub, entries, err)
			}
		}
		free()
		s.command(t, "", "postqueue", "-f")
		s.awaitQueued(t, id, "")
		entries, err := os.ReadDir(filepath.Join(disk, "box", "new"))
		if err != nil || len(entries) != 1 {
			t.Errorf("the maildir has %v, %v", entries, err)
		}
	}
	// A mailbox file grows up to its limit, and is then as it was.
	mbox := filepath.Join(s.Dir, "mail", "mbox")
	id := s.send(t, sender, "mbox@"+virtualDomain, big("mbox", 120_000))
	s.awaitLog(t, id+`: to=<mbox@mail\.suffix\.test>, relay=virtual, .*dsn=2\.0\.0, status=sent \(delivered to mailbox\)`)
	first, err := os.ReadFile(mbox)
	must(t, err)
	id = s.send(t, sender, "mbox@"+virtualDomain, big("mbox", 120_000))
	s.awaitLog(t, id+`: to=<mbox@mail\.suffix\.test>, relay=virtual, .*dsn=5\.2\.2, status=bounced \(delivery failed to mailbox \S+: error writing message: File too large\)`)
	second, err := os.ReadFile(mbox)
	must(t, err)
	if string(first) != string(second) {
		t.Errorf("the mailbox had %d bytes, and has %d", len(first), len(second))
	}
	if m := s.awaitMail(t, sender); !strings.Contains(m, "Status: 5.2.2\n") {
		t.Errorf("the notice is\n%.3000s", m)
	}
}
