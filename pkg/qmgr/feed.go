package qmgr

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"suffix/pkg/queue"
	"suffix/pkg/syserr"
)

// maxReaders bounds how many messages are being read at a time.
const maxReaders = 16

// maxBatch is the largest number of recipients that one read takes.
const maxBatch = 5000

// feed takes messages into the active queue while there is room (spec qmgr
// §2.3): from incoming and deferred in turn, but when there was no room the
// next one is from incoming.
func (m *Manager) feed() {
	for len(m.arriving) < maxReaders {
		if len(m.messages)+len(m.arriving) >= m.settings.activeLimit {
			m.first = m.incoming
			return
		}
		s := m.first
		c, ok := s.take()
		if !ok {
			s = m.other(s)
			if c, ok = s.take(); !ok {
				return
			}
		}
		m.first = m.other(s)
		if _, known := m.messages[c.id]; !known && !m.arriving[c.id] {
			m.admit(s, c)
		}
	}
}

func (m *Manager) other(s *scan) *scan {
	if s == m.incoming {
		return m.deferred
	}
	return m.incoming
}

// restartDelay is how long a message waits that an agent is still busy with.
const restartDelay = 60 * time.Second

// admit has a file moved to the active queue and read. Room for recipients is
// reserved as far as the file can have any.
func (m *Manager) admit(s *scan, c candidate) {
	if s == m.incoming {
		m.fed++
	}
	limit := max(m.settings.rcptLimit-m.rcptCount, m.settings.rcptMinimum)
	limit = min(limit, maxBatch)
	reserved := int(min(int64(limit), c.info.Size/minRecipientSize+1))
	m.rcptCount += reserved
	m.arriving[c.id] = true
	msg := newMessage(c, time.Now(), s.current, m.settings.rcptMinimum)
	go func() {
		batch, err := m.enter(msg, s.queueName, limit)
		m.post(func() {
			m.rcptCount -= reserved
			delete(m.arriving, msg.id)
			switch {
			case errors.Is(err, errSkipped):
			case err != nil:
				m.fail("%w", err)
			default:
				m.entered(msg, batch)
			}
		})
	}()
}

// minRecipientSize is less than what a recipient takes in a queue file, with
// its original address and DSN attributes.
const minRecipientSize = 8

// errSkipped says that a message did not become active, for a reason that
// needs no more work.
var errSkipped = errors.New("message skipped")

// enter moves a file to the active queue, reads the first batch of recipients,
// and resolves them (spec qmgr §3). It runs outside the owner.
func (m *Manager) enter(msg *message, from string, limit int) ([]resolved, error) {
	if err := m.tree.Move(from, queue.Active, msg.id); err != nil {
		m.log.Warnf("qmgr_active_feed: %s: rename from %s to active: %s", msg.id, from, syserr.Text(err))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errSkipped
		}
		return nil, err
	}
	f, err := m.openActive(msg.id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.log.Warnf("open active %s: %s", msg.id, syserr.Text(err))
		return nil, m.saveCorrupt(msg.id)
	case err != nil:
		return nil, err
	}
	defer f.close()
	if err := f.lock(); err != nil {
		m.log.Infof("%s: skipped, still being delivered", msg.id)
		return nil, m.backToIncoming(msg.id)
	}
	rcpts, err := m.readEnvelope(msg, f, f.path, limit)
	if errors.Is(err, errCorrupt) {
		return nil, m.saveCorrupt(msg.id)
	} else if err != nil {
		return nil, err
	}
	if msg.flushMode {
		if err := f.clearMode(queue.ModeFlush); err != nil {
			m.log.Warnf("fchmod %s: %s", f.path, syserr.Text(err))
		}
	}
	if msg.forceExpire && m.hasLog(queue.Defer, msg.id) {
		msg.expireNow = true
		return nil, nil
	}
	if err := m.tree.Remove(queue.Defer, msg.id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warnf("qmgr_message_alloc: %s: remove defer %s: %s", msg.id, msg.id, syserr.Text(err))
		return nil, err
	}
	return m.resolveAll(msg, rcpts)
}

// saveCorrupt moves a damaged file where the admin finds it.
func (m *Manager) saveCorrupt(id string) error {
	m.log.Warnf("saving corrupt file \"%s\" from queue \"%s\" to queue \"%s\"", id, queue.Active, queue.Corrupt)
	if err := m.tree.Move(queue.Active, queue.Corrupt, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errSkipped
}

// backToIncoming gives an agent of an earlier queue manager time to finish.
func (m *Manager) backToIncoming(id string) error {
	if err := m.move(id, time.Now().Add(restartDelay), queue.Incoming); err != nil {
		return err
	}
	return errSkipped
}

// move sets the time before which a message is not tried, and moves it from
// the active queue to another. A file that is not there is only warned about.
func (m *Manager) move(id string, due time.Time, to string) error {
	if err := m.tree.Touch(queue.Active, id, due); err != nil {
		m.log.Warnf("qmgr_move: update %s time stamps: %s", m.tree.Path(queue.Active, id), syserr.Text(err))
		return ignoreMissing(err)
	}
	if err := m.tree.Move(queue.Active, to, id); err != nil {
		m.log.Warnf("qmgr_move: rename %s from %s to %s: %s", id, queue.Active, to, syserr.Text(err))
		return ignoreMissing(err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// hasLog says whether there is a bounce or defer log with something in it.
func (m *Manager) hasLog(queueName, id string) bool {
	info, err := os.Stat(m.tree.Path(queueName, id))
	return err == nil && info.Size() > 0
}

// restart brings what an earlier queue manager left in the active queue back
// to incoming, to be tried at once.
func (m *Manager) restart() error {
	files := m.tree.Scan(queue.Active)
	defer files.Close()
	now := time.Now()
	for files.Next() {
		if !queue.ValidID(files.Name()) {
			m.log.Warnf("qmgr_move: ignored: queue %s id %s", queue.Active, files.Name())
			continue
		}
		if err := m.move(files.Name(), now, queue.Incoming); err != nil {
			return err
		}
	}
	return files.Err()
}
