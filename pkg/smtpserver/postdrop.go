package smtpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"suffix/pkg/attr"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/record"
)

// A postdropStream submits a message through the postdrop command, which may
// write to the maildrop queue (spec smtpd §1, submission §2).
type postdropStream struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	w      *bufio.Writer
	r      *attr.Reader
	id     string
	err    error
	buf    []byte
	closed bool
}

// openPostdrop starts the command and reads the name of the queue file.
func openPostdrop(ctx context.Context, path string) (cleanupclient.Stream, error) {
	cmd := exec.CommandContext(ctx, path, "-r")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("unable to execute %s -r: %w", path, err)
	}
	p := &postdropStream{cmd: cmd, in: in, w: bufio.NewWriterSize(in, 16*1024)}
	p.r = attr.NewReader(bufio.NewReader(out), attr.Null, "postdrop")
	if err = p.r.Protocol("postdrop_protocol"); err == nil {
		if p.id, err = p.r.Str("queue_id"); err == nil {
			err = p.r.End()
		}
	}
	if err != nil {
		p.Abort()
		return nil, fmt.Errorf("unable to execute %s -r: %w", path, err)
	}
	return p, nil
}

// QueueID implements cleanupclient.Stream.
func (p *postdropStream) QueueID() string { return p.id }

// Put implements cleanupclient.Stream.
func (p *postdropStream) Put(t record.Type, data string) {
	p.buf = record.Append(p.buf[:0], t, data)
	p.write()
}

// PutBytes implements cleanupclient.Stream.
func (p *postdropStream) PutBytes(t record.Type, data []byte) {
	p.buf = record.Append(p.buf[:0], t, data)
	p.write()
}

func (p *postdropStream) write() {
	if p.err == nil {
		_, p.err = p.w.Write(p.buf)
	}
}

// Flush implements cleanupclient.Stream.
func (p *postdropStream) Flush() error {
	if p.err == nil {
		p.err = p.w.Flush()
	}
	return p.err
}

// Finish implements cleanupclient.Stream.
func (p *postdropStream) Finish() (cleanupclient.Status, string, error) {
	err := p.Flush()
	var status int
	var reason string
	if err == nil {
		if status, err = p.r.Int("status"); err == nil {
			if reason, err = p.r.Str("reason"); err == nil {
				err = p.r.End()
			}
		}
	}
	if err != nil {
		p.Abort()
		return cleanupclient.Write, "", fmt.Errorf("postdrop: %w", err)
	}
	if err := p.close(); err != nil && status == 0 {
		return cleanupclient.Write, "", fmt.Errorf("postdrop: %w", err)
	}
	return cleanupclient.Status(status), reason, nil
}

// Abort implements cleanupclient.Stream: without an end record the command
// throws the message away.
func (p *postdropStream) Abort() {
	// There is nothing left to be done about a failure.
	_ = p.close()
}

func (p *postdropStream) close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	err := p.in.Close()
	if waitErr := p.cmd.Wait(); waitErr != nil {
		return waitErr
	}
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
