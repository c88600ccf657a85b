package showqclient

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"testing"

	"suffix/pkg/attr"
)

// recorder notes what it gets.
type recorder struct {
	lines []string
	fail  error
}

func (r *recorder) Message(m *Message) error {
	r.lines = append(r.lines, fmt.Sprintf("message %+v", *m))
	return r.fail
}

func (r *recorder) Recipient(rcpt *Recipient) error {
	r.lines = append(r.lines, fmt.Sprintf("recipient %+v", *rcpt))
	return nil
}

func (r *recorder) End() error {
	r.lines = append(r.lines, "end")
	return nil
}

func read(stream string, h Handler) error {
	return Read(attr.NewReader(bufio.NewReader(strings.NewReader(stream)), attr.Null, "showq socket"), h)
}

// null turns a readable form into the one on the wire.
func null(s string) string { return strings.ReplaceAll(s, "|", "\x00") }

const (
	hello   = "protocol|mail_queue_list_protocol||"
	message = "queue_name|deferred|queue_id|444549A21F1|time|1795359659|size|263|forced_expire|1|sender|s@x|"
)

func TestRead(t *testing.T) {
	const wantMessage = "message {Queue:deferred ID:444549A21F1 Time:1795359659 Size:263 Forced:true Sender:s@x}"
	for _, c := range []struct{ name, stream, want string }{
		{"empty", hello + "|", ""},
		{"no recipients", hello + message + "||", wantMessage + "; end"},
		{"3.12", hello + message + "original_recipient|o@x|recipient|a@x|log_class|bounce|reason|gone|original_recipient||recipient|b\x01@x|log_class||reason||||",
			wantMessage + "; recipient {Original:o@x Address:a@x Class:bounce Reason:gone}; recipient {Original: Address:b?@x Class: Reason:}; end"},
		{"3.7", hello + message + "recipient|a@x|reason|later|recipient|b@x|reason||||",
			wantMessage + "; recipient {Original: Address:a@x Class:defer Reason:later}; recipient {Original: Address:b@x Class: Reason:}; end"},
		{"two messages", hello + message + "|" + message + "||", wantMessage + "; end; " + wantMessage + "; end"},
	} {
		r := &recorder{}
		if err := read(null(c.stream), r); err != nil || strings.Join(r.lines, "; ") != c.want {
			t.Errorf("%s: %v, got %v, want %s", c.name, err, r.lines, c.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, stream := range []string{
		"", "protocol|other||", "protocol|mail_queue_list_protocol|x|y||", hello, hello + "queue_id|x|", hello + message,
		hello + "queue_name|deferred|queue_id|x||", hello + strings.Replace(message, "263", "many", 1) + "||",
		hello + message + "reason|x||", hello + message + "recipient|a|log_class|x||", hello + message + "original_recipient|a|reason||",
	} {
		if err := read(null(stream), &recorder{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v", stream, err)
		}
	}
	stop := errors.New("stop")
	if err := read(null(hello+message+"||"), &recorder{fail: stop}); !errors.Is(err, stop) || errors.Is(err, ErrMalformed) {
		t.Errorf("handler's error: got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(null(hello + message + "original_recipient|o@x|recipient|a@x|log_class|bounce|reason|gone||" + "|")))
	f.Add([]byte(null(hello + message + "recipient|a@x|reason|later||" + message + "||")))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := &recorder{}
		if err := read(string(in), r); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("unexpected kind of error %v", err)
		}
		for _, line := range r.lines {
			if strings.ContainsAny(line, "\x00\n\r") {
				t.Fatalf("not printable: %q", line)
			}
		}
	})
}
