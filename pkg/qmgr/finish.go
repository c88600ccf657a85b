package qmgr

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"suffix/pkg/bounceclient"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/syserr"
)

// verdict is what becomes of a message after a delivery round.
type verdict int

const (
	gone     verdict = iota // removed, deferred, or saved as corrupt
	moreWork                // recipients in the file are still to be read
)

// roundDone finishes a delivery round: no entry of the message is left (spec
// qmgr §11).
func (m *Manager) roundDone(msg *message) {
	msg.reading = true
	go func() {
		v, err := m.finish(msg)
		m.post(func() {
			msg.reading = false
			switch {
			case err != nil:
				m.fail("%w", err)
			case v == moreWork:
				m.refill(msg)
			default:
				m.forget(msg)
			}
		})
	}()
}

// finish does the work of roundDone. It runs outside the owner and does not
// change the message.
func (m *Manager) finish(msg *message) (verdict, error) {
	if msg.corrupt {
		return gone, nil
	}
	retry := msg.retry
	if ok := m.flushBounces(msg); !ok {
		retry = true
	}
	if retry {
		if _, ready := m.tree.Ready(queue.Active, msg.id); !ready {
			err := m.saveCorrupt(msg.id)
			if err == errSkipped {
				err = nil
			}
			return gone, err
		}
	}
	if msg.nextOffset != 0 {
		return moreWork, nil
	}
	if !m.sendReport(msg) {
		retry = true
	}
	if retry && m.ctx.Err() == nil {
		retry = m.handleOld(msg)
	}
	if m.ctx.Err() != nil {
		return gone, nil // the next Manager finds it in the active queue
	}
	if retry {
		return gone, m.deferMessage(msg)
	}
	return gone, m.removeMessage(msg)
}

// notice describes the message for the sender's information.
func (msg *message) notice(flags int) bounceclient.Notice {
	return bounceclient.Notice{
		Flags:      flags | msg.traceFlags,
		QueueName:  queue.Active,
		QueueID:    msg.id,
		Encoding:   msg.encoding,
		SendOpts:   msg.sendOpts,
		Sender:     msg.sender,
		EnvelopeID: msg.envelopeID,
		Ret:        msg.ret,
	}
}

// reportFailed logs that a notice could not be sent, and returns false.
func (m *Manager) reportFailed(msg *message, what string, err error) bool {
	if !errors.Is(err, bounceclient.ErrRefused) {
		m.log.Warnf("%s", err)
	}
	m.log.Infof("%s: status=deferred (%s failed)", msg.id, what)
	return false
}

// flushBounces has the sender told of recipients that failed in this round.
func (m *Manager) flushBounces(msg *message) (ok bool) {
	path := m.tree.Path(queue.Bounce, msg.id)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true
	case err != nil:
		m.log.Warnf("%s: %s", path, syserr.Text(err))
		return false
	case info.Size() == 0:
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			m.log.Warnf("remove %s: %s", path, syserr.Text(err))
		}
		return true
	}
	return m.flushLog(msg, m.bounces.Bounce, 0)
}

// flushLog has a notice sent for a bounce or defer log.
func (m *Manager) flushLog(msg *message, service string, flags int) (ok bool) {
	if msg.verp != "" && m.settings.verpBounces {
		if err := m.bounces.FlushVERP(service, msg.notice(flags), msg.verp); err != nil {
			what := "verp-bounce"
			if m.settings.dialect37 {
				what = "verp"
			}
			return m.reportFailed(msg, what, err)
		}
		return true
	}
	if err := m.bounces.Flush(service, msg.notice(flags)); err != nil {
		return m.reportFailed(msg, "bounce", err)
	}
	return true
}

// sendReport has a success or verification report sent where one is wanted.
func (m *Manager) sendReport(msg *message) (ok bool) {
	if msg.traceFlags&(traceUserProbe|traceRecord|traceDelay) == 0 && msg.options&optNotifySuccess == 0 {
		return true
	}
	if err := m.bounces.Report(msg.notice(0)); err != nil {
		return m.reportFailed(msg, "trace", err)
	}
	if msg.traceOffset > 0 {
		m.patch(msg, func(f *os.File) error { return record.PatchType(f, msg.traceOffset, record.Attr, record.Killed) })
	}
	return true
}

// handleOld returns a message that waited too long, or warns the sender about
// one that waits for long. It returns whether the message is to be tried again.
func (m *Manager) handleOld(msg *message) (retry bool) {
	now := time.Now()
	lifetime := m.settings.queueLifetime
	if msg.sender == "" {
		lifetime = m.settings.bounceLifetime
	}
	status := ""
	switch {
	case msg.forceExpire:
		status = "force-expired"
	case !now.Before(msg.created.Add(lifetime)):
		status = "expired"
	}
	if status != "" {
		m.log.Infof("%s: from=<%s>, status=%s, returned to sender", msg.id, m.logAddress(msg.sender), status)
		return !m.flushLog(msg, m.bounces.Defer, bounceclient.FlagDeleteLogged)
	}
	if msg.warnTime > 0 && now.Unix() >= msg.warnTime-1 {
		if err := m.bounces.Warn(msg.notice(0)); err != nil {
			m.reportFailed(msg, "delay warning", err)
		} else {
			m.patch(msg, func(f *os.File) error { return record.PatchNumber(f, msg.warnOffset, record.Warn, -1) })
		}
	}
	return true
}

// patch changes a record of the queue file.
func (m *Manager) patch(msg *message, change func(*os.File) error) {
	f, err := m.activeFile(msg.id)
	if err == nil {
		err = change(f)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		m.log.Warnf("update queue file %s: %s", m.tree.Path(queue.Active, msg.id), syserr.Text(err))
	}
}

// deferMessage puts a message off: the longer it has been here, the longer it
// waits.
func (m *Manager) deferMessage(msg *message) error {
	now := time.Now()
	delay := now.Sub(msg.created).Truncate(time.Second)
	delay = max(m.settings.minimalBackoff, min(delay, m.settings.maximalBackoff))
	return m.move(msg.id, now.Add(delay), queue.Deferred)
}

func (m *Manager) removeMessage(msg *message) error {
	if err := m.tree.Remove(queue.Active, msg.id); err != nil {
		m.log.Warnf("qmgr_active_done_3_generic: remove %s from active: %s", msg.id, syserr.Text(err))
		return ignoreMissing(err)
	}
	m.log.Infof("%s: removed", msg.id)
	return nil
}
