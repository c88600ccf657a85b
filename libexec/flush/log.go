package flush

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/dnsclient"
	"suffix/pkg/flushclient"
	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/safefile"
	"suffix/pkg/syserr"
)

// maxRemembered is how many messages of one request are known by name, so that
// they are not touched again.
const maxRemembered = 10000

// maxLine is how much of a line in a log is looked at.
const maxLine = 1000

// logName is the name of a destination's log: letters and digits in lower case,
// an underscore for each other byte. ok is false for a text that is no destination.
func logName(site string) (name string, ok bool) {
	ascii := dnsclient.ToASCII(site)
	b := []byte(ascii)
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case strings.IndexByte(".-_[]:", c) >= 0:
			b[i] = '_'
		default:
			maillog.Warnf("midna_domain_to_ascii_create: Problem translating domain \"%s\" to ASCII form: malformed ASCII label(s)", maillog.Printable(site))
			return "", false
		}
	}
	return string(b), queue.ValidID(string(b))
}

// find checks that a destination has a log and returns the name of that.
func (s *server) find(site string) (name string, status flushclient.Status) {
	ok, err := s.sites.Match(site)
	if err != nil {
		return "", flushclient.Fail
	}
	if ok {
		name, ok = logName(site)
	}
	if !ok {
		return "", flushclient.Denied
	}
	return name, flushclient.OK
}

// add appends a queue ID to a destination's log.
func (s *server) add(_ context.Context, site, queueID string) flushclient.Status {
	name, status := s.find(site)
	if status != flushclient.OK {
		return status
	}
	if !queue.ValidID(queueID) {
		return flushclient.Bad
	}
	if err := s.append(name, queueID); err != nil {
		maillog.Warnf("flush_add_path: %v", err)
		return flushclient.Fail
	}
	return flushclient.OK
}

func (s *server) append(name, queueID string) error {
	f, err := s.open(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(queueID + "\n"); err != nil {
		return &logError{"write", name, err}
	}
	return nil
}

// open opens and locks a log. One that was removed before it was locked is
// opened anew: what is written into it would be lost.
func (s *server) open(name string, flags int) (*os.File, error) {
	for {
		f, err := s.tree.Open(queue.Flush, name, flags, 0600)
		if err != nil {
			return nil, &logError{"open", name, err}
		}
		if err := safefile.Lock(f, true, true); err != nil {
			f.Close()
			return nil, &logError{"lock", name, err}
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
			f.Close()
			return nil, &logError{"fstat", name, err}
		}
		if st.Nlink > 0 {
			return f, nil
		}
		f.Close()
	}
}

// A logError says what could not be done with a log.
type logError struct {
	op, name string
	err      error
}

func (e *logError) Error() string {
	return e.op + " fast flush logfile " + e.name + ": " + syserr.Text(e.err)
}

func (e *logError) Unwrap() error { return e.err }

// remove removes a log that has been empty for long, unless somebody just
// wrote into it.
func (s *server) remove(name, path string) error {
	f, err := s.open(name, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() > 0 {
		return err
	}
	if err := os.Remove(path); err != nil {
		return &logError{"remove", name, err}
	}
	return nil
}

// sendSite brings all mail for one destination to the queue manager.
func (s *server) sendSite(ctx context.Context, site string) flushclient.Status {
	name, status := s.find(site)
	if status != flushclient.OK {
		return status
	}
	if err := s.sendLog(ctx, name, true); err != nil {
		maillog.Warnf("flush_send_path: %v", err)
		return flushclient.Fail
	}
	return flushclient.OK
}

// sendLog brings the messages of one log to the queue manager and empties the
// log. With unthrottle set the queue manager forgets first which destinations
// were unreachable. A log that does not exist is empty.
func (s *server) sendLog(ctx context.Context, name string, unthrottle bool) error {
	f, err := s.open(name, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if unthrottle {
		s.trigger("F")
	}
	now := time.Now()
	found, err := s.requeue(ctx, f, name, now)
	if err != nil {
		return err
	}
	if found {
		if err := f.Truncate(0); err != nil {
			return &logError{"truncate", name, err}
		}
	}
	if err := s.tree.Touch(queue.Flush, name, now); err != nil {
		maillog.Warnf("update fast flush logfile %s: %s", name, syserr.Text(err))
	}
	if found {
		s.trigger("I")
	}
	return nil
}

// requeue moves the messages that a log lists back to the incoming queue.
func (s *server) requeue(ctx context.Context, f io.Reader, name string, now time.Time) (found bool, err error) {
	in := bufio.NewReaderSize(f, 16<<10)
	seen := make(map[string]bool)
	for {
		line, err := readLine(in)
		if err != nil {
			if err == io.EOF {
				return found, nil
			}
			return found, &logError{"read", name, err}
		}
		found = true
		if !queue.ValidID(line) {
			maillog.Warnf("bad queue id \"%.30s...\" in fast flush logfile %s", maillog.Printable(line), name)
			continue
		}
		if seen[line] {
			continue
		}
		if len(seen) < maxRemembered {
			seen[line] = true
		}
		s.release(line, now)
		if err := ctx.Err(); err != nil {
			return found, err // the log stays as it is
		}
	}
}

// readLine reads a line without its end, and of a long one the begin only.
func readLine(in *bufio.Reader) (string, error) {
	var line strings.Builder
	for {
		chunk, err := in.ReadSlice('\n')
		if room := maxLine - line.Len(); room > 0 {
			line.Write(chunk[:min(len(chunk), room)])
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (err != io.EOF || line.Len() == 0):
			return "", err
		}
		return strings.TrimSuffix(line.String(), "\n"), nil
	}
}

// release makes one message ready for delivery: its time stamps say now, and
// if it is deferred it moves to the incoming queue. It tells whether there is
// such a message.
func (s *server) release(queueID string, now time.Time) bool {
	for _, name := range []string{queue.Deferred, queue.Incoming} {
		err := s.tree.Touch(name, queueID, now)
		if err == nil {
			if name == queue.Deferred {
				if err := s.tree.Move(queue.Deferred, queue.Incoming, queueID); err != nil && !errors.Is(err, fs.ErrNotExist) {
					maillog.Warnf("rename %s from deferred to incoming: %s", queueID, syserr.Text(err))
				}
			}
			return true
		}
		if !errors.Is(err, fs.ErrNotExist) {
			maillog.Warnf("update %s time stamps: %s", s.tree.Path(name, queueID), syserr.Text(err))
			return false
		}
	}
	return false
}

// sendFile brings one message to the queue manager, which will then try its
// destinations again even if they were unreachable. That there is no such
// message is no error.
func (s *server) sendFile(queueID string) flushclient.Status {
	if !queue.ValidID(queueID) {
		return flushclient.Bad
	}
	now := time.Now()
	for _, name := range []string{queue.Deferred, queue.Incoming} {
		err := s.tree.Touch(name, queueID, now)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			maillog.Warnf("update %s time stamps: %s", s.tree.Path(name, queueID), syserr.Text(err))
			return flushclient.Fail
		}
		info, ready := s.tree.Ready(name, queueID)
		if !ready {
			return flushclient.OK
		}
		if err := os.Chmod(info.Path, info.Mode|queue.ModeFlush); err != nil && !errors.Is(err, fs.ErrNotExist) {
			maillog.Warnf("chmod %s: %s", info.Path, syserr.Text(err))
		}
		if name == queue.Deferred {
			if err := s.tree.Move(name, queue.Incoming, queueID); err != nil && !errors.Is(err, fs.ErrNotExist) {
				maillog.Warnf("rename %s from deferred to incoming: %s", queueID, syserr.Text(err))
				return flushclient.Fail
			}
		}
		s.trigger("I")
		return flushclient.OK
	}
	return flushclient.OK
}

// refresh brings mail to the queue manager for which nobody asked within maxAge,
// and removes logs that have been empty for long.
func (s *server) refresh(ctx context.Context, maxAge time.Duration) {
	scan := s.tree.Scan(queue.Flush)
	defer scan.Close()
	for scan.Next() && ctx.Err() == nil {
		name := scan.Name()
		if !queue.ValidID(name) {
			continue
		}
		path := s.tree.Path(queue.Flush, name)
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			if err != syscall.ENOENT {
				maillog.Warnf("stat %s: %s", path, syserr.Text(err))
			}
			continue
		}
		now := time.Now()
		if st.Size == 0 {
			if time.Unix(st.Mtim.Sec, st.Mtim.Nsec).Add(s.purgeAfter).Before(now) {
				if err := s.remove(name, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					maillog.Warnf("%v", err)
				}
			}
		} else if time.Unix(st.Atim.Sec, st.Atim.Nsec).Add(maxAge).Before(now) {
			if err := s.sendLog(ctx, name, false); err != nil {
				maillog.Warnf("flush_send_path: %v", err)
			}
		}
	}
	if err := scan.Err(); err != nil {
		maillog.Warnf("open directory %s: %s", queue.Flush, syserr.Text(err))
	}
}
