package cleanup

import (
	"errors"
	"sync"
	"time"

	"suffix/pkg/ipc"
)

// A notifier tells the queue manager that there is new mail. At most one
// trigger is on its way; mail that arrives meanwhile causes one more after it.
type notifier struct {
	service string
	timeout time.Duration
	warn    func(format string, args ...any)

	mu      sync.Mutex
	busy    bool // a trigger is on its way
	again   bool // and another one must follow
	pending sync.WaitGroup
}

// fire returns at once.
func (n *notifier) fire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy {
		n.again = true
		return
	}
	n.busy = true
	n.pending.Go(n.run)
}

func (n *notifier) run() {
	for {
		// A queue manager that is not there looks at the queue when it starts.
		var absent *ipc.ConnectError
		if err := ipc.Trigger(ipc.Public, n.service, "W", n.timeout, 0); err != nil && !errors.As(err, &absent) {
			n.warn("%v", err)
		}
		n.mu.Lock()
		if !n.again {
			n.busy = false
			n.mu.Unlock()
			return
		}
		n.again = false
		n.mu.Unlock()
	}
}

func (n *notifier) wait() { n.pending.Wait() }
