package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/showqclient"
	"suffix/pkg/syserr"
)

// A listing shows the mail queue in one of the output formats.
type listing interface {
	showqclient.Handler
	Summary() error // after the last message
	Flush() error   // sends what is still in memory
}

// showQueue lists the queue by means of the showq service, or, for root while
// the mail system is down, of the showq program.
func showQueue(cfg *config.Main, out listing) error {
	conn, err := ipc.Dial(ipc.Public, cfg.String(params.ShowqServiceName), cfg.Time(params.IpcTimeout))
	if err == nil {
		defer conn.Close()
		return copyListing(conn.R, out)
	}
	reason := "Connect to the Postfix showq service: " + syserr.Text(err)
	switch {
	case errors.Is(err, syscall.EACCES):
		return errors.New(reason)
	case os.Geteuid() != 0:
		return fmt.Errorf("Queue report unavailable - mail system is down (%s)", reason)
	}
	maillog.Warnf("Mail system is down -- accessing queue directly (%s)", reason)
	return runShowq(cfg.String(params.DaemonDirectory)+"/showq", out)
}

// runShowq lists the queue by means of a program of our own.
func runShowq(path string, out listing) error {
	cmd := exec.Command(path, "-u", "-S")
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("Error running %s: %s", path, syserr.Text(err))
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("Error running %s: %s", path, syserr.Text(err))
	}
	r := attr.NewReader(bufio.NewReaderSize(pipe, 16<<10), attr.Null, "showq stream")
	err = copyListing(r, out)
	pipe.Close()
	if waitErr := cmd.Wait(); err == nil && waitErr != nil {
		err = fmt.Errorf("Error running %s", path)
	}
	return err
}

// copyListing shows what the server sends, as far as that can be understood.
func copyListing(r *attr.Reader, out listing) error {
	err := showqclient.Read(r, out)
	if err == nil {
		err = out.Summary()
	}
	if errors.Is(err, showqclient.ErrMalformed) {
		maillog.Debugf("%v", err)
		if flushErr := out.Flush(); flushErr != nil {
			maillog.Debugf("output write error: %v", flushErr)
		}
		return showqclient.ErrMalformed
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return nil // a reader who closed the pipe has seen enough
	}
	return fmt.Errorf("output write error: %s", syserr.Text(err))
}
