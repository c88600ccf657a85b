package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"suffix/test/e2e/peer"
	"suffix/test/instance"
)

// relayDomain is where mail goes to the sink.
const relayDomain = "relay.test"

// sender gets the notices that nobody should get.
const sender = "crash-sender@" + instance.Domain

// A letter is a message that is about to be sent.
type letter struct {
	number  string
	rcpts   []string
	content string // lines end in LF
}

// compose writes the letter with a number: its body is random, and its header
// has the digest of the body.
func compose(random *rand.Rand, worker, n int) letter {
	l := letter{number: fmt.Sprintf("%d-%d", worker, n)}
	switch random.IntN(5) {
	case 0, 1:
		l.rcpts = []string{"crash@" + relayDomain}
	case 2, 3:
		l.rcpts = []string{"crash@" + instance.Domain}
	case 4:
		l.rcpts = []string{"crash@" + relayDomain, "crash@" + instance.Domain, "other@" + relayDomain}
	}
	var body strings.Builder
	for range random.IntN(60) {
		switch random.IntN(12) {
		case 0:
			body.WriteString(".\n")
		case 1:
			body.WriteString("..dots\n")
		case 2:
			body.WriteString("\n")
		case 3:
			body.WriteString(strings.Repeat("long ", random.IntN(900)) + "\n")
		case 4:
			body.WriteString("\xfc\xdf\x80 not ASCII\n")
		default:
			fmt.Fprintf(&body, "%x %x\n", random.Uint64(), random.Uint64())
		}
	}
	body.WriteString("end\n")
	l.content = fmt.Sprintf("From: %s\nTo: crash@%s\nMessage-ID: <%s@crash.test>\nDate: Sun, 22 Nov 2026 12:00:00 +0000\n%s%s %s\n\n%s",
		sender, instance.Domain, l.number, mark, l.number, digest(body.String()), &body)
	return l
}

// mark is the header with number and digest.
const mark = "X-Crash: "

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// retryTime is how long a sender waits for a system that is down.
const retryTime = 20 * time.Millisecond

// sendSMTP sends letters, one after the other, over as many sessions as it
// takes.
func (b *ledger) sendSMTP(ctx context.Context, in *instance.Instance, seed uint64, worker int) {
	random := rand.New(rand.NewPCG(seed, uint64(100+worker)))
	var c *peer.Client
	for n := 0; ctx.Err() == nil; n++ {
		l := compose(random, worker, n)
		if c == nil {
			var err error
			if c, err = open(in.Address()); err != nil {
				n--
				time.Sleep(retryTime)
				continue
			}
		}
		reached, err := sendLetter(c, l)
		switch {
		case err == nil:
			b.accepted(l)
		case reached:
			b.uncertain(l)
		default:
			b.refused()
		}
		if err != nil || random.IntN(20) == 0 {
			c.Close()
			c = nil
		}
	}
	if c != nil {
		c.Close()
	}
}

func open(addr string) (*peer.Client, error) {
	c, err := peer.Dial(addr)
	if err != nil {
		return nil, err
	}
	if _, err := c.Expect("EHLO crash.test", "250"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// sendLetter is one transaction. Reached says that the end of the content was
// sent, and so the letter may arrive even if there is no proper reply.
func sendLetter(c *peer.Client, l letter) (reached bool, err error) {
	rcpts := make([]string, len(l.rcpts))
	for i, r := range l.rcpts {
		rcpts[i] = "<" + r + ">"
	}
	if err := c.Envelope("<"+sender+">", rcpts...); err != nil {
		return false, err
	}
	r, err := c.Data(strings.ReplaceAll(l.content, "\n", "\r\n"))
	if err != nil {
		return true, err
	}
	// After an error reply the letter may arrive too: what the server could
	// not be told may have happened all the same.
	_, err = peer.QueueID(r)
	return true, err
}

// sendLocally gives letters to sendmail.
func (b *ledger) sendLocally(ctx context.Context, in *instance.Instance, seed uint64, worker int) {
	random := rand.New(rand.NewPCG(seed, uint64(100+worker)))
	for n := 0; ctx.Err() == nil; n++ {
		l := compose(random, worker, n)
		cmd := in.Command("sendmail", append([]string{"-i", "-f", sender}, l.rcpts...)...)
		cmd.Stdin = strings.NewReader(l.content)
		if err := cmd.Run(); err != nil {
			// It may have been killed, or postdrop below it, at the end.
			b.uncertain(l)
		} else {
			b.accepted(l)
		}
		time.Sleep(retryTime)
	}
}
