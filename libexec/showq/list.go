package showq

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"suffix/pkg/address"
	"suffix/pkg/attr"
	"suffix/pkg/bouncelog"
	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/syserr"
)

// lister has what a listing needs to know.
type lister struct {
	tree      *queue.Tree
	nobody    string // empty_address_recipient: shown for the empty address
	limit     int    // duplicate_filter_limit; 0 for none
	dialect37 bool
}

// queues are listed in this order.
var queues = []string{queue.Maildrop, queue.Active, queue.Incoming, queue.Deferred, queue.Hold}

// batch is the number of recipients after which output is sent.
const batch = 200

// list writes the whole stream. The error is that of the connection: what is
// wrong with queue files is logged, and the file skipped.
func (l *lister) list(ctx context.Context, w *attr.Writer) error {
	if err := w.Str("protocol", "mail_queue_list_protocol").End(); err != nil {
		return err
	}
	m := &message{lister: l, w: w}
	for _, name := range queues {
		if err := m.scan(ctx, name); err != nil {
			return err
		}
	}
	return w.End()
}

func (m *message) scan(ctx context.Context, queueName string) error {
	s := m.tree.Scan(queueName)
	defer s.Close()
	last := ""
	for s.Next() {
		id := s.Name()
		if id == last {
			maillog.Warnf("readdir loop on queue %s id %s", queueName, id)
			return nil
		}
		last = id
		if info, ok := m.tree.Ready(queueName, id); ok {
			if err := m.show(queueName, id, info); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		maillog.Warnf("open directory %s: %s", queueName, syserr.Text(err))
	}
	return nil
}

// message shows one message after the other.
type message struct {
	*lister
	w       *attr.Writer
	reader  *record.FileReader
	pending int // recipients that were not sent yet

	queueName, id string
	info          queue.Info
	size, arrival int64
	sender        string
	begun         bool // the sender was seen and the list begun
	logged        map[string]bool
}

// show writes the list of one message. The error is that of the connection.
func (m *message) show(queueName, id string, info queue.Info) error {
	f, err := os.Open(info.Path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			maillog.Warnf("open %s %s: %s", queueName, id, syserr.Text(err))
		}
		return nil
	}
	defer f.Close()
	if m.reader == nil {
		m.reader = record.NewFileReader(f, info.Path)
	} else {
		m.reader.Reset(f, info.Path)
	}
	m.queueName, m.id, m.info = queueName, id, info
	m.size, m.arrival, m.sender, m.begun = info.Size, 0, "", false
	clear(m.logged)
	if err := m.read(); err != nil {
		return err
	}
	if m.begun {
		m.w.Terminate()
		return m.sendSome()
	}
	return nil
}

// read goes through the envelope of the file. The error is that of the
// connection; a bad file ends early.
func (m *message) read() error {
	original := ""
	var content, contentEnd int64
	for {
		typ, data, err := m.reader.Next()
		if err != nil {
			if err != io.EOF {
				maillog.Warnf("%s", err)
			}
			return nil
		}
		switch typ {
		case record.Time:
			if sec, _, ok := record.ParseTime(data); ok && m.arrival == 0 {
				m.arrival = sec
			}
		case record.Size:
			content, contentEnd = m.readSize(data)
		case record.Content:
			if content == m.reader.NextOffset() {
				m.reader.SeekTo(contentEnd)
			}
		case record.Sender:
			if m.begun {
				maillog.Warnf("%s: duplicate sender address: %s -- skipping remainder of this file", m.id, maillog.Printable(string(data)))
				return nil
			}
			m.sender = string(data)
			if err := m.begin(); err != nil {
				return err
			}
		case record.Recipient, record.OrigRecipient:
			if !m.begun {
				maillog.Warnf("%s: missing sender address: %s -- skipping remainder of this file", m.id, maillog.Printable(string(data)))
				return nil
			}
			if typ == record.OrigRecipient {
				original = m.external(string(data))
				continue
			}
			recipient := m.external(string(data))
			if original == "" {
				original = recipient
			}
			if !m.logged[recipient] {
				if err := m.recipient(original, recipient, "", ""); err != nil {
					return err
				}
			}
			original = ""
		case record.Done, record.Canceled:
			original = ""
		}
	}
}

// readSize takes the size to show and returns the offsets of the content and
// its end; 0 where they are not known.
func (m *message) readSize(data []byte) (content, end int64) {
	if m.queueName == queue.Maildrop && !m.dialect37 {
		return 0, 0
	}
	for _, c := range data {
		if (c < '0' || c > '9') && c != ' ' {
			maillog.Warnf("%s: malformed size record: %s -- using file size instead", m.id, maillog.Printable(string(data)))
			return 0, 0
		}
	}
	sizes, fields, err := record.ParseSizes(data)
	if err != nil {
		maillog.Warnf("%s: malformed size record: %s -- using file size instead", m.id, maillog.Printable(string(data)))
		return 0, 0
	}
	if sizes.Segment > 0 {
		m.size = sizes.Segment
	}
	if fields < 3 || sizes.Offset <= 0 || sizes.Segment <= 0 {
		return 0, 0
	}
	return sizes.Offset, sizes.Offset + sizes.Segment
}

// begin writes what is known about the message, and the recipients that the
// logs tell about.
func (m *message) begin() error {
	arrival := m.arrival
	if arrival == 0 {
		arrival = m.info.Mtime.Unix()
	}
	forced := 0
	if m.info.Mode&queue.ModeExpire != 0 {
		forced = 1
	}
	m.w.Str("queue_name", m.queueName).Str("queue_id", m.id).Long("time", arrival).Long("size", m.size).
		Int("forced_expire", forced).Str("sender", m.external(m.sender))
	m.begun = true
	logs := []string{queue.Defer, queue.Bounce}
	if m.dialect37 {
		logs = logs[:1]
	}
	for _, name := range logs {
		if err := m.showLog(name); err != nil {
			return err
		}
	}
	return nil
}

func (m *message) showLog(name string) error {
	r, err := bouncelog.Open(m.tree, name, m.id)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			maillog.Warnf("open %s %s: %s", name, m.id, syserr.Text(err))
		}
		return nil
	}
	defer r.Close()
	var e bouncelog.Entry
	for {
		if err := r.Next(&e); err != nil {
			if err != io.EOF {
				maillog.Warnf("%s", err)
			}
			return nil
		}
		if m.limit <= 0 || len(m.logged) < m.limit {
			if m.logged == nil {
				m.logged = make(map[string]bool)
			}
			m.logged[e.Recipient] = true
		}
		if err := m.recipient(maillog.Printable(e.Original), maillog.Printable(e.Recipient), name, maillog.Printable(e.Reason)); err != nil {
			return err
		}
	}
}

func (m *message) recipient(original, recipient, class, reason string) error {
	if m.dialect37 {
		m.w.Str("recipient", recipient).Str("reason", reason)
	} else {
		m.w.Str("original_recipient", original).Str("recipient", recipient).Str("log_class", class).Str("reason", reason)
	}
	return m.sendSome()
}

// sendSome sends what was collected, from time to time.
func (m *message) sendSome() error {
	m.pending++
	if m.pending < batch {
		return nil
	}
	m.pending = 0
	return m.w.Flush()
}

// external is an address as it is shown.
func (m *message) external(internal string) string {
	if internal == "" {
		return m.nobody
	}
	return maillog.Printable(address.Quote(internal))
}
