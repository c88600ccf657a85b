package deliver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/queue"
	"suffix/pkg/service"
	"suffix/pkg/syserr"
)

// An Agent is the frame in which a delivery agent runs.
type Agent struct {
	Recorder *outcome.Recorder
	Deliver  Deliverer

	tree *queue.Tree
}

// NewAgent makes a frame around deliver.
func NewAgent(cfg *config.Main, recorder *outcome.Recorder, deliver Deliverer) *Agent {
	return &Agent{Recorder: recorder, Deliver: deliver, tree: queue.New(cfg, maillog.Warnf)}
}

// Serve handles one connection of the queue manager, or of another agent that
// passes a recipient on: greeting, one request, one reply.
func (a *Agent) Serve(ctx context.Context, _ *service.Process, c *service.Conn) {
	if err := c.W.Str("protocol", Protocol).End(); err != nil {
		return
	}
	// The queue manager may find that nothing is left to do, and close.
	if _, err := c.R.Buffered().Peek(1); err != nil {
		return
	}
	req, err := ReadRequest(c.R)
	switch {
	case err != nil:
		where := "common"
		var inRecipient *recipientError
		if errors.As(err, &inRecipient) {
			where = "recipient"
		}
		maillog.Warnf("%v", err)
		maillog.Warnf("deliver_request_get: error receiving %s attributes", where)
	case len(req.Recipients) == 0:
		maillog.Warnf("%s: no recipients in delivery request for destination %s", req.QueueID, req.NextHop)
	}
	reply := Reply{Retry: true}
	if err == nil && len(req.Recipients) > 0 {
		req.Times.HandOff = time.Now()
		var ok bool
		if reply, ok = a.handle(ctx, req); !ok {
			return
		}
	}
	reply.Put(c.W)
	if err := c.W.Flush(); err != nil {
		return
	}
	c.AwaitClose()
	if req != nil && req.File != nil {
		req.File.Close()
	}
}

// handle opens the queue file and has the request delivered. ok is false when
// no answer must be given: the queue manager then tries again later.
func (a *Agent) handle(ctx context.Context, req *Request) (_ Reply, ok bool) {
	if !queue.ValidName(req.QueueName) || !queue.ValidID(req.QueueID) {
		maillog.Warnf("deliver_request_get: bad queue name or ID: %s %s", req.QueueName, req.QueueID)
		return Reply{Retry: true}, true
	}
	path := a.tree.Path(req.QueueName, req.QueueID)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			maillog.Warnf("open %s %s: %s", req.QueueName, req.QueueID, syserr.Text(err))
			return Reply{Retry: true}, true
		}
		maillog.Logf(maillog.Fatal, "open %s %s: %s", req.QueueName, req.QueueID, syserr.Text(err))
		return Reply{}, false
	}
	req.File, req.recorder = f, a.Recorder
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		maillog.Logf(maillog.Fatal, "shared lock %s: %s", path, syserr.Text(err))
		f.Close()
		return Reply{}, false
	}
	hop := a.Deliver(ctx, req)
	if req.markErr != nil {
		maillog.Logf(maillog.Fatal, "update queue file %s: %s", path, syserr.Text(req.markErr))
		f.Close()
		return Reply{}, false
	}
	return Reply{Hop: hop, Retry: req.retry}, true
}

// MarkCorrupt tells the queue manager that the queue file is damaged: it moves
// the file away instead of delivering it again (spec delivery §2).
func (r *Request) MarkCorrupt(path string) {
	maillog.Warnf("corrupted queue file: %s", path)
	if err := r.File.Chmod(0o400); err != nil {
		maillog.Warnf("%s: cannot mark as corrupt: %s", path, syserr.Text(err))
	}
	r.retry = true
}
