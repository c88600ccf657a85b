//go:build interop

package interop

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// replyTime bounds the wait for one SMTP reply.
const replyTime = 60 * time.Second

// A dialogue is an SMTP session of which every line is kept.
type dialogue struct {
	t     *testing.T
	conn  net.Conn
	in    *bufio.Reader
	lines []string
}

// dial opens a session and reads the greeting.
func dial(t *testing.T, port int) *dialogue {
	t.Helper()
	conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	d := &dialogue{t: t, conn: conn, in: bufio.NewReader(conn)}
	d.reply()
	return d
}

// reply reads one reply of any number of lines and returns the last.
func (d *dialogue) reply() string {
	d.t.Helper()
	for {
		if err := d.conn.SetDeadline(time.Now().Add(replyTime)); err != nil {
			d.t.Fatal(err)
		}
		line, err := d.in.ReadString('\n')
		if err != nil {
			// The server may end the session; what it said stands above.
			d.lines = append(d.lines, "S: end of connection")
			return ""
		}
		line = strings.TrimSuffix(line, "\r\n")
		d.lines = append(d.lines, "S: "+line)
		if len(line) < 4 || line[3] == ' ' {
			return line
		}
	}
}

// raw sends bytes as they are.
func (d *dialogue) raw(text string) {
	d.t.Helper()
	if _, err := d.conn.Write([]byte(text)); err != nil {
		d.lines = append(d.lines, "C: cannot send")
	}
}

// do sends a command and returns the last line of the reply.
func (d *dialogue) do(format string, args ...any) string {
	d.t.Helper()
	line := fmt.Sprintf(format, args...)
	d.lines = append(d.lines, "C: "+line)
	d.raw(line + "\r\n")
	return d.reply()
}

// content sends the content of a message after 354, and returns the reply.
func (d *dialogue) content(text string) string {
	d.t.Helper()
	d.lines = append(d.lines, "C: (content)")
	text = strings.ReplaceAll(text, "\n", "\r\n")
	text = strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]
	d.raw(text + ".\r\n")
	return d.reply()
}

// quit ends the session.
func (d *dialogue) quit() {
	d.t.Helper()
	d.do("QUIT")
	d.conn.Close()
}

// transcript is what was said.
func (d *dialogue) transcript() string { return strings.Join(d.lines, "\n") }
