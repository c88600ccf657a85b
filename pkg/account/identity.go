package account

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"suffix/pkg/safefile"

	"golang.org/x/sys/unix"
)

// Become gives the whole process, all its threads, the identity of the user,
// for good: primary group, supplementary groups, user. A process that already
// has the user's identity and is not root is left as it is.
func Become(u *User) error {
	if err := SetGroups(u); err != nil {
		return err
	}
	return SetUser(u)
}

// SetGroups is the first half of Become; a chroot comes between the two.
func SetGroups(u *User) error {
	if isAlready(u.UID) {
		return nil
	}
	if err := syscall.Setgid(u.GID); err != nil {
		return fmt.Errorf("setgid(%d): %w", u.GID, safefile.Cause(err))
	}
	groups := u.Groups
	if len(groups) == 0 {
		groups = []int{u.GID}
	}
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("initgroups: %w", safefile.Cause(err))
	}
	return nil
}

// SetUser is the second half of Become.
func SetUser(u *User) error {
	if isAlready(u.UID) {
		return nil
	}
	if err := syscall.Setuid(u.UID); err != nil {
		return fmt.Errorf("setuid(%d): %w", u.UID, safefile.Cause(err))
	}
	return nil
}

func isAlready(uid int) bool {
	return uid != 0 && os.Getuid() == uid && os.Geteuid() == uid
}

// AsUser runs f on an operating-system thread of its own that has only the
// file and network rights of the given user and groups, and ends with f. The
// other threads of the process keep theirs.
//
// The thread's real user stays what it was, so that the user cannot send it
// signals. So f must not start programs: Credential is for those, outside of
// AsUser. And f must stay on its goroutine: one that it starts runs elsewhere,
// with the rights of the process.
func AsUser(uid, gid int, groups []int, f func() error) error {
	if isAlready(uid) {
		return f()
	}
	if len(groups) == 0 {
		groups = []int{gid}
	}
	done := make(chan error, 1)
	go onOwnThread(done, func() error {
		if err := becomeThread(uid, gid, groups); err != nil {
			return err
		}
		return f()
	})
	err := <-done
	if p, ok := err.(*panicError); ok {
		panic(p.value)
	}
	return err
}

// onOwnThread runs f on a thread that ends with it, and sends what it returns.
func onOwnThread(done chan<- error, f func() error) {
	// Never unlocked: the thread ends with the goroutine, and with it the
	// identity.
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The first thread cannot end, and its identity is what others see
		// as that of the process. Keep it busy while another is found.
		inner := make(chan error)
		go onOwnThread(inner, f)
		done <- <-inner
		runtime.UnlockOSThread()
		return
	}
	var result error
	failed := true
	defer func() {
		if failed {
			// A panic in f must reach the caller's goroutine, which knows
			// whose request it was.
			result = &panicError{recover()}
		}
		done <- result
	}()
	result = f()
	failed = false
}

type panicError struct{ value any }

func (p *panicError) Error() string { return fmt.Sprint(p.value) }

// becomeThread changes the identity of the current thread alone. The calls are
// made directly because those of package syscall change all threads.
func becomeThread(uid, gid int, groups []int) error {
	list := make([]uint32, len(groups))
	for i, g := range groups {
		list[i] = uint32(g)
	}
	if err := setGroupsThread(list); err != 0 {
		return fmt.Errorf("setgroups: %w", safefile.Cause(err))
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); err != 0 {
		return fmt.Errorf("setgid(%d): %w", gid, safefile.Cause(err))
	}
	const keep = ^uintptr(0)
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); err != 0 {
		return fmt.Errorf("seteuid(%d): %w", uid, safefile.Cause(err))
	}
	return nil
}

// Credential returns what os/exec needs to start a program as the user.
func (u *User) Credential() *syscall.Credential {
	if isAlready(u.UID) {
		return nil
	}
	groups := make([]uint32, len(u.Groups))
	for i, g := range u.Groups {
		groups[i] = uint32(g)
	}
	return &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID), Groups: groups}
}

// WithFileRights runs f with the rights that the user has on files, and then
// gives back those of the process, which is root's and not yet the user's. It is
// for what a daemon does before it becomes that user for good: AsUser leaves a
// thread behind that may still be ending, and must not then. The supplementary
// groups stay those of the process. f must stay on its goroutine.
func WithFileRights(u *User, f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	runtime.LockOSThread()
	gid, err := unix.SetfsgidRetGid(u.GID)
	if err == nil {
		_, err = unix.SetfsuidRetUid(u.UID)
	}
	if err != nil {
		return fmt.Errorf("file rights of %s: %w", u.Name, err)
	}
	defer func() {
		// The calls do not say whether they had an effect; the next ones do.
		unix.Setfsuid(0)
		unix.Setfsgid(gid)
		if now, err := unix.SetfsuidRetUid(-1); now == 0 && err == nil {
			runtime.UnlockOSThread()
		}
	}()
	if now, err := unix.SetfsuidRetUid(-1); now != u.UID || err != nil {
		return fmt.Errorf("file rights of %s: no permission", u.Name)
	}
	return f()
}
