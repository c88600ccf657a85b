package attr

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// SendFile passes an open file over a unix-domain connection: one message with
// a single NUL byte and the descriptor (spec ipc §6). The sender keeps its copy.
func SendFile(c *net.UnixConn, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("send descriptor: %w", err)
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) {
		_, _, sendErr = c.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil)
	}); err != nil {
		return fmt.Errorf("send descriptor: %w", err)
	}
	if sendErr != nil {
		return fmt.Errorf("send descriptor: %w", sendErr)
	}
	return nil
}

// ReceiveFile takes a file that the peer passes. Nothing may have been read
// ahead from the connection by a buffered reader.
func ReceiveFile(c *net.UnixConn) (*os.File, error) {
	data := make([]byte, 1)
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(data, oob)
	if err != nil {
		return nil, fmt.Errorf("receive descriptor: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("receive descriptor: no descriptor in message")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("receive descriptor: want one descriptor, have %d", len(fds))
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "passed descriptor"), nil
}
