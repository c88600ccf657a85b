package main

import (
	"bufio"
	"io"
	"slices"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/queue"
)

// act does what one option asks for.
func (s *super) act(a action, stdin io.Reader) error {
	switch a.target {
	case "ALL":
		return s.actAll(a.option)
	case "-":
		in := bufio.NewScanner(stdin)
		for in.Scan() {
			if err := s.actOne(a.option, in.Text()); err != nil {
				return err
			}
		}
		return in.Err()
	}
	return s.actOne(a.option, a.target)
}

// actOne works on one message.
func (s *super) actOne(option byte, id string) error {
	if !queue.ValidID(id) {
		s.log(maillog.Warning, "invalid mail queue id: %s", maillog.Printable(id))
		return nil
	}
	switch option {
	case 'd':
		return s.find(id, nil, &s.deleted, "removed", s.delete)
	case 'r':
		return s.find(id, []string{queue.Maildrop}, &s.requeued, "requeued", s.requeue)
	case 'h':
		return s.find(id, []string{queue.Maildrop, queue.Hold}, &s.held, "placed on hold", func(_, path, id string) (bool, error) {
			return s.rename(path, s.tree.Path(queue.Hold, id))
		})
	case 'H':
		return s.release(id)
	case 'e':
		return s.expireOne(id)
	}
	// -f
	if err := s.expireOne(id); err != nil {
		return err
	}
	return s.release(id)
}

func (s *super) expireOne(id string) error {
	return s.find(id, []string{queue.Maildrop}, &s.expired, "expired", func(_, path, _ string) (bool, error) { return s.expire(path) })
}

func (s *super) release(id string) error {
	others := []string{queue.Maildrop, queue.Incoming, queue.Active, queue.Deferred}
	return s.find(id, others, &s.released, "released from hold", func(_, path, id string) (bool, error) {
		return s.rename(path, s.tree.Path(queue.Deferred, id))
	})
}

// find looks for a message in all queues but some and does something with it.
// The second round meets a message that moved during the first.
func (s *super) find(id string, not []string, count *int, what string, do func(queueName, path, id string) (bool, error)) error {
	for range 2 {
		for _, name := range s.queues {
			if err := checkQueue(name); err != nil {
				return err
			}
			if !hasMessages(name) || slices.Contains(not, name) {
				continue
			}
			info, ready := s.tree.Ready(name, id)
			if !ready {
				continue
			}
			done, err := do(name, info.Path, id)
			if err != nil {
				return err
			}
			if done {
				*count++
				s.log(maillog.Info, "%s: %s", id, what)
				return nil
			}
		}
	}
	return nil
}

// delete removes a message, after its logs: nobody would remove those later.
func (s *super) delete(_, path, id string) (bool, error) {
	for _, name := range logQueues {
		if _, err := s.remove(s.tree.Path(name, id)); err != nil {
			return false, err
		}
	}
	return s.remove(path)
}

// requeue sends a message through pickup and cleanup again.
func (s *super) requeue(_, path, id string) (bool, error) {
	done, err := s.rename(path, s.tree.Path(queue.Maildrop, id))
	if done {
		// pickup may have been faster.
		_ = s.tree.Touch(queue.Maildrop, id, time.Now())
	}
	return done, err
}

// actAll works on everything that is in the queues.
func (s *super) actAll(option byte) error {
	return s.scan(func(f *file) error {
		if option == 'd' {
			ready := hasMessages(f.queue) && f.ready()
			done, err := s.remove(f.path)
			if done && ready {
				s.deleted++
			}
			return err
		}
		if !f.hasID() || !hasMessages(f.queue) {
			return nil
		}
		switch option {
		case 'r':
			return s.moveAll(f, &s.requeued, queue.Maildrop)
		case 'h':
			return s.moveAll(f, &s.held, queue.Hold, queue.Maildrop)
		case 'H':
			return s.moveAll(f, &s.released, queue.Deferred, queue.Maildrop, queue.Incoming, queue.Active)
		}
		// -e, -f
		if f.queue != queue.Maildrop && f.ready() {
			done, err := s.expire(f.path)
			if err != nil {
				return err
			}
			if done {
				s.expired++
			}
		}
		if option == 'f' {
			return s.moveAll(f, &s.released, queue.Deferred, queue.Maildrop, queue.Incoming, queue.Active)
		}
		return nil
	})
}

// moveAll moves a file to another queue, unless it is there or in a queue that
// the action leaves alone.
func (s *super) moveAll(f *file, count *int, to string, not ...string) error {
	if f.queue == to || slices.Contains(not, f.queue) {
		return nil
	}
	done, err := s.rename(f.path, s.tree.Path(to, f.name))
	if done {
		*count++
	}
	return err
}
