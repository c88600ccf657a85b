// Package submit has what the commands for local submission share: who may
// submit, how the program that reads the maildrop queue is woken up, and a
// wider choice of tables than such small programs contain (spec submission).
package submit

import (
	"fmt"
	"os"
	"strings"

	"suffix/pkg/account"
	"suffix/pkg/config"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
	"suffix/pkg/syserr"

	"golang.org/x/sys/unix"
)

// User returns the login name of a user, or "unknown".
func User(uid int) string {
	u, err := account.LookupUID(uid)
	if err != nil {
		return "unknown"
	}
	return u.Name
}

// An Action is something that an access list of main.cf allows to users.
type Action struct {
	Parameter params.String // the access list
	Verb      string        // as in "is not allowed to VERB"
}

// What local users may be allowed to do.
var (
	Submit = Action{params.AuthorizedSubmitUsers, "submit mail"}
	Flush  = Action{params.AuthorizedFlushUsers, "flush the mail queue"}
	List   = Action{params.AuthorizedMailqUsers, "view the mail queue"}
)

// Check returns an error in Postfix's words when the access list does not
// allow the action to the user.
func Check(cfg *config.Main, action Action, uid int) error {
	value := cfg.String(action.Parameter)
	if strings.HasPrefix(value, "static:") {
		return nil
	}
	name := User(uid)
	list := matchlist.New(params.Of(action.Parameter).Name, value, matchlist.String, matchlist.Options{Config: cfg, Command: true})
	defer list.Close()
	if err := list.Err(); err != nil {
		return err
	}
	ok, err := list.Match(name)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("User %s(%d) is not allowed to %s", name, uid, action.Verb)
	}
	return nil
}

// Trigger wakes up a service that reads a queue, and does not wait for it to
// notice. The class and service name its socket below the queue directory. That
// nobody serves the socket is no error: the service looks at its queue when it
// starts.
func Trigger(class, service string, request string) error {
	path := class + "/" + service
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fmt.Errorf("unable to look up %s: %s", path, syserr.Text(err))
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %s", path, syserr.Text(err))
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, []byte(request)); err != nil {
			return fmt.Errorf("write %s: %s", path, syserr.Text(err))
		}
		return nil
	case unix.S_IFSOCK:
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket: %s", syserr.Text(err))
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return nil
		}
		// Neither is a service that ends in this moment.
		_, _ = unix.Write(fd, append([]byte(request), 0))
		return nil
	}
	return fmt.Errorf("%s is not a socket or a fifo", path)
}

// LimitFileSize lowers the limit on the size of files that this process writes
// to the value of message_size_limit; 0 means no limit.
func LimitFileSize(limit int64) error {
	if limit <= 0 {
		return nil
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &r); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if r.Cur <= uint64(limit) {
		return nil
	}
	r.Cur = uint64(limit)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &r); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}

// CloseFrom closes the descriptors first to last, which a parent left open.
func CloseFrom(first, last uint) {
	_ = unix.CloseRange(first, last, 0) // an old kernel leaves them open
}

// Chdir enters the queue directory.
func Chdir(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("chdir %s: %s", dir, syserr.Text(err))
	}
	return nil
}
