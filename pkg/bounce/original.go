package bounce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/syserr"
)

// An original is the message that a notice is about. Its file may be missing,
// and what could not be read is empty.
type original struct {
	file       *os.File
	dataOffset int64
	size       int64 // -1 unknown
	arrival    time.Time
	sender     string
	hasSender  bool
	messageID  string
}

// openOriginal opens and locks the message file, and reads what notices tell
// about it.
func openOriginal(tree *queue.Tree, queueName, id string) (*original, error) {
	o := &original{size: -1}
	f, err := tree.Open(queueName, id, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s %s: %s", queueName, id, syserr.Text(err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot get shared lock on %s: %s", f.Name(), syserr.Text(err))
	}
	o.file = f
	o.readEnvelope(id)
	return o, nil
}

func (o *original) close() {
	if o.file != nil {
		o.file.Close()
	}
}

// readEnvelope looks through the envelope and the extracted information. A
// damaged file just tells less.
func (o *original) readEnvelope(id string) {
	in := record.NewFileReader(o.file, id)
	for {
		t, data, err := in.Next()
		if err != nil {
			return
		}
		switch t {
		case record.Size:
			if sizes, _, err := record.ParseSizes(data); err == nil {
				o.dataOffset, o.size = sizes.Offset, sizes.Segment
			}
		case record.Time:
			if sec, usec, ok := record.ParseTime(data); ok && o.arrival.IsZero() {
				o.arrival = time.Unix(sec, usec*1000)
			}
		case record.Sender:
			if !o.hasSender {
				o.sender, o.hasSender = string(data), true
			}
		case record.Attr:
			if name, value, err := record.SplitAttr(data); err == nil && string(name) == "message_id" {
				o.messageID = maillog.Printable(string(value))
			}
		case record.Content:
			// Only forward: a damaged file must not send us round in circles.
			end := o.dataOffset + o.size
			if o.dataOffset <= 0 || o.size < 0 || end < in.NextOffset() {
				return
			}
			in.SeekTo(end)
		case record.End:
			return
		}
	}
}
