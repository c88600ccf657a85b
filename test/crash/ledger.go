package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"suffix/test/e2e/peer"
	"suffix/test/instance"
)

// A delivery is one letter for one recipient.
type delivery struct{ number, rcpt string }

// A ledger has what was sent, what was accepted, and what has arrived.
type ledger struct {
	mu       sync.Mutex
	owed     map[delivery]bool // accepted, must arrive
	possible map[delivery]bool // uncertain, may arrive
	arrived  map[delivery]int
	letters  int // accepted
	doubtful int
	failed   int      // refused, or broken off before the end
	damaged  []string // what is wrong with messages that arrived
}

func newLedger() *ledger {
	return &ledger{owed: make(map[delivery]bool), possible: make(map[delivery]bool), arrived: make(map[delivery]int)}
}

// accepted books a letter that somebody has promised to deliver.
func (b *ledger) accepted(l letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters++
	for _, r := range l.rcpts {
		b.owed[delivery{l.number, r}] = true
	}
}

// uncertain books a letter of which nobody knows.
func (b *ledger) uncertain(l letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubtful++
	for _, r := range l.rcpts {
		b.possible[delivery{l.number, r}] = true
	}
}

func (b *ledger) refused() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed++
}

func (b *ledger) progress(kills int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Printf("  %d kills; %d letters accepted, %d uncertain, %d not taken; %d have arrived at the sink\n", kills, b.letters, b.doubtful, b.failed, len(b.arrived))
}

// receive takes a message from the sink.
func (b *ledger) receive(m *peer.Message) {
	var rcpts []string
	for _, r := range m.Rcpts {
		path, _, _ := strings.Cut(r, ">")
		rcpts = append(rcpts, strings.TrimPrefix(path, "<"))
	}
	b.check(strings.ReplaceAll(m.Data, "\r\n", "\n"), rcpts)
}

// check compares a message with its digest, and books its arrival.
func (b *ledger) check(text string, rcpts []string) {
	head, body, ok := strings.Cut(text, "\n\n")
	_, rest, found := strings.Cut(head, "\n"+mark)
	line, _, _ := strings.Cut(rest, "\n")
	number, sum, _ := strings.Cut(line, " ")
	b.mu.Lock()
	defer b.mu.Unlock()
	if !ok || !found || digest(body) != sum {
		b.damaged = append(b.damaged, fmt.Sprintf("message %q for %s with %d bytes:\n%.600s", number, rcpts, len(text), text))
		return
	}
	for _, r := range rcpts {
		b.arrived[delivery{number, r}]++
	}
}

// readMailbox takes the messages from the mailbox of the virtual domain.
func (b *ledger) readMailbox(in *instance.Instance) error {
	dir := filepath.Join(in.Maildir(), "new")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(content), "\nDelivered-To: ")
		rcpt, _, _ := strings.Cut(rest, "\n")
		b.check(string(content), []string{rcpt})
	}
	return nil
}

// shown limits how many cases of a kind are printed.
const shown = 10

// report prints the balance, and says whether all is well.
func (b *ledger) report(w io.Writer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lost, foreign []string
	duplicates, extra := 0, 0
	for d := range b.owed {
		if b.arrived[d] == 0 {
			lost = append(lost, d.number+" for "+d.rcpt)
		}
	}
	for d, n := range b.arrived {
		if n > 1 {
			duplicates += n - 1
		}
		if !b.owed[d] {
			if b.possible[d] {
				extra++
			} else {
				foreign = append(foreign, d.number+" for "+d.rcpt)
			}
		}
	}
	fmt.Fprintf(w, "%d letters accepted, for %d recipients; %d uncertain, %d not taken\n", b.letters, len(b.owed), b.doubtful, b.failed)
	fmt.Fprintf(w, "%d deliveries; %d of uncertain letters; %d duplicates\n", len(b.arrived), extra, duplicates)
	fmt.Fprintf(w, "lost: %d, damaged: %d, never sent: %d\n", len(lost), len(b.damaged), len(foreign))
	for what, list := range map[string][]string{"lost": lost, "damaged": b.damaged, "never sent": foreign} {
		for i, text := range list {
			if i == shown {
				fmt.Fprintf(w, "... and %d more\n", len(list)-shown)
				break
			}
			fmt.Fprintf(w, "%s: %s\n", what, text)
		}
	}
	return len(lost)+len(b.damaged)+len(foreign) == 0
}
