package account

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setGroupsThread sets the supplementary groups of the current thread.
func setGroupsThread(groups []uint32) syscall.Errno {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	_, _, err := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0)
	return err
}
