package peer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// clientTimeout limits each wait of a client.
const clientTimeout = time.Minute

// A Reply is what the server answered.
type Reply struct {
	Code  string   // three digits
	Lines []string // text of each line, after the code
}

// String is the reply in one line.
func (r Reply) String() string { return r.Code + " " + strings.Join(r.Lines, " / ") }

// A Client is an SMTP session that sends bytes as they are.
type Client struct {
	Conn     net.Conn
	in       *bufio.Reader
	Greeting Reply
}

// Dial connects and reads the greeting.
func Dial(addr string) (*Client, error) {
	c, err := DialSilent(addr)
	if err != nil {
		return nil, err
	}
	if c.Greeting, err = c.Read(); err != nil {
		c.Conn.Close()
		return nil, fmt.Errorf("greeting of %s: %w", addr, err)
	}
	return c, nil
}

// DialSilent connects, and leaves the greeting unread.
func DialSilent(addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, clientTimeout)
	if err != nil {
		return nil, err
	}
	return &Client{Conn: conn, in: bufio.NewReader(conn)}, nil
}

// Close ends the connection without QUIT.
func (c *Client) Close() { c.Conn.Close() }

// Write sends text as it is.
func (c *Client) Write(text string) error {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(clientTimeout)); err != nil {
		return err
	}
	_, err := io.WriteString(c.Conn, text)
	return err
}

// Read takes one reply.
func (c *Client) Read() (Reply, error) { return c.ReadWithin(clientTimeout) }

// ReadWithin is Read with another limit of time.
func (c *Client) ReadWithin(limit time.Duration) (Reply, error) {
	var r Reply
	if err := c.Conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return r, err
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return r, err
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(text) < 3 {
			return r, fmt.Errorf("malformed reply %q", line)
		}
		if r.Code != "" && r.Code != text[:3] {
			return r, fmt.Errorf("reply line %q after code %s", line, r.Code)
		}
		r.Code = text[:3]
		more := len(text) > 3 && text[3] == '-'
		r.Lines = append(r.Lines, text[min(4, len(text)):])
		if !more {
			return r, nil
		}
	}
}

// ReadAll takes everything that the server sends until it closes.
func (c *Client) ReadAll() (string, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(clientTimeout)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c.in)
	return string(b), err
}

// Do sends a command and takes the reply.
func (c *Client) Do(command string) (Reply, error) {
	if err := c.Write(command + "\r\n"); err != nil {
		return Reply{}, fmt.Errorf("%s: %w", command, err)
	}
	r, err := c.Read()
	if err != nil {
		return r, fmt.Errorf("reply to %s: %w", command, err)
	}
	return r, nil
}

// Expect is Do for a reply whose code begins with the given one.
func (c *Client) Expect(command, code string) (Reply, error) {
	r, err := c.Do(command)
	if err == nil && !strings.HasPrefix(r.Code, code) {
		err = fmt.Errorf("%s: got %s, want %s", command, r, code)
	}
	return r, err
}

// Begin opens a transaction: EHLO, MAIL and RCPT commands. The sender and
// recipients are command arguments: "<a@b> SIZE=1".
func (c *Client) Begin(from string, rcpts ...string) error {
	if _, err := c.Expect("EHLO client.test", "250"); err != nil {
		return err
	}
	return c.Envelope(from, rcpts...)
}

// Envelope sends MAIL and RCPT commands.
func (c *Client) Envelope(from string, rcpts ...string) error {
	if _, err := c.Expect("MAIL FROM:"+from, "250"); err != nil {
		return err
	}
	for _, r := range rcpts {
		if _, err := c.Expect("RCPT TO:"+r, "250"); err != nil {
			return err
		}
	}
	return nil
}

// Data sends DATA and the content, with dots doubled, and takes the reply. The
// content must end in CR LF.
func (c *Client) Data(content string) (Reply, error) {
	if _, err := c.Expect("DATA", "354"); err != nil {
		return Reply{}, err
	}
	stuffed := strings.ReplaceAll("\r\n"+content, "\r\n.", "\r\n..")[2:]
	return c.Do(stuffed + ".")
}

// Quit ends the session.
func (c *Client) Quit() error {
	defer c.Conn.Close()
	_, err := c.Expect("QUIT", "221")
	return err
}

// Send delivers one message over a session of its own, and returns the queue
// ID from the last reply.
func Send(addr, from string, rcpts []string, content string) (string, error) {
	c, err := Dial(addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.Begin(from, rcpts...); err != nil {
		return "", err
	}
	r, err := c.Data(content)
	if err != nil {
		return "", err
	}
	id, err := QueueID(r)
	if err != nil {
		return "", err
	}
	return id, c.Quit()
}

// QueueID takes the queue ID from the reply to a message.
func QueueID(r Reply) (string, error) {
	if len(r.Lines) == 1 && r.Code == "250" {
		if id, ok := strings.CutPrefix(r.Lines[0], "2.0.0 Ok: queued as "); ok {
			return id, nil
		}
	}
	return "", fmt.Errorf("message not accepted: %s", r)
}
