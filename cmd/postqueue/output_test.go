package main

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/showqclient"
)

// stream is a listing as showq 3.12 sends it; | stands for the null byte.
const stream = "protocol|mail_queue_list_protocol||" +
	"queue_name|active|queue_id|863F1990131|time|1795359222|size|299|forced_expire|0|sender|alice@example.com|" +
	"original_recipient|t@o|recipient|tmp@rej.test|log_class|defer|reason|host 127.0.0.1[127.0.0.1] said: 450 4.2.1 mailbox busy (in reply to RCPT TO command)|" +
	"original_recipient||recipient|b@rej.test|log_class|bounce|reason|gone \"for\" \\ever|" +
	"original_recipient||recipient|c@rej.test|log_class|other|reason|gone \"for\" \\ever|" +
	"original_recipient|carol@hang.test|recipient|carol@hang.test|log_class||reason||" +
	"original_recipient|d@hang.test|recipient|d@hang.test|log_class||reason|||" +
	"queue_name|hold|queue_id|071A899088E|time|1795359357|size|2048323|forced_expire|1|sender|MAILER-DAEMON|" +
	"original_recipient|k\xc3\xa4@h\xff|recipient|k\xc3\xa4@h\xff|log_class||reason||||"

const wantShort = `-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
863F1990131*     299 Sun Nov 22 14:53:42  alice@example.com
(host 127.0.0.1[127.0.0.1] said: 450 4.2.1 mailbox busy (in reply to RCPT TO command))
                                         tmp@rej.test
                                                            (gone "for" \ever)
                                         b@rej.test
                                         c@rej.test
                                                          (reason unavailable)
                                         carol@hang.test
                                         d@hang.test

071A899088E!# 2048323 Sun Nov 22 14:55:57  MAILER-DAEMON
                                         kä@h?

-- 2000 Kbytes in 2 Requests.
`

const wantJSON = `{"queue_name": "active", "queue_id": "863F1990131", "arrival_time": 1795359222, "message_size": 299, "forced_expire": false, "sender": "alice@example.com", "recipients": [` +
	`{"orig_address": "t@o", "address": "tmp@rej.test", "delay_reason": "host 127.0.0.1[127.0.0.1] said: 450 4.2.1 mailbox busy (in reply to RCPT TO command)"}, ` +
	`{"orig_address": "", "address": "b@rej.test", "bounce_reason": "gone \"for\" \\ever"}, ` +
	`{"orig_address": "", "address": "c@rej.test", "other_reason": "gone \"for\" \\ever"}, ` +
	`{"orig_address": "carol@hang.test", "address": "carol@hang.test"}, ` +
	`{"orig_address": "d@hang.test", "address": "d@hang.test"}]}
{"queue_name": "hold", "queue_id": "071A899088E", "arrival_time": 1795359357, "message_size": 2048323, "forced_expire": true, "sender": "MAILER-DAEMON", "recipients": [{"orig_address": "kä@h?", "address": "kä@h?"}]}
`

func show(t *testing.T, out listing, stream string) error {
	t.Helper()
	r := attr.NewReader(bufio.NewReader(strings.NewReader(strings.ReplaceAll(stream, "|", "\x00"))), attr.Null, "showq socket")
	return copyListing(r, out)
}

func inUTC(t *testing.T) {
	zone := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = zone })
}

func TestTable(t *testing.T) {
	inUTC(t)
	var buf bytes.Buffer
	if err := show(t, newTable(&buf, false), stream); err != nil || strings.ReplaceAll(buf.String(), "??", "ä") != wantShort {
		t.Errorf("%v, got\n%s\nwant\n%s", err, buf.String(), wantShort)
	}
	buf.Reset()
	if err := show(t, newTable(&buf, false), "protocol|mail_queue_list_protocol|||"); err != nil || buf.String() != "Mail queue is empty\n" {
		t.Errorf("%v, got %q", err, buf.String())
	}
	buf.Reset()
	long := "protocol|mail_queue_list_protocol||queue_name|active|queue_id|4jXXGJ3d4mz1SZ3y|time|1795359400|size|275|forced_expire|1|sender|sbcc@example.com|" +
		"original_recipient||recipient|sb@hang.test|log_class||reason||||"
	want := `----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
4jXXGJ3d4mz1SZ3y*#      275 Sun Nov 22 14:56:40 sbcc@example.com
                                               sb@hang.test

-- 0 Kbytes in 1 Request.
`
	if err := show(t, newTable(&buf, true), long); err != nil || buf.String() != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, buf.String(), want)
	}
}

func TestJSON(t *testing.T) {
	var buf bytes.Buffer
	if err := show(t, newJSON(&buf, true), stream); err != nil || strings.ReplaceAll(buf.String(), "??", "ä") != wantJSON {
		t.Errorf("%v, got\n%s\nwant\n%s", err, buf.String(), wantJSON)
	}
	buf.Reset()
	if err := show(t, newJSON(&buf, true), "protocol|mail_queue_list_protocol|||"); err != nil || buf.String() != "" {
		t.Errorf("%v, got %q", err, buf.String())
	}
	for _, c := range []struct {
		in   string
		utf8 bool
		want string
	}{
		{"\b\f\n\r\t\x00\x1f\x7f\"\\/é\xff", true, `"\b\f\n\r\t\u0000\u001F\u007F\"\\/é?"`},
		{"é\xff", false, `"???"`},
	} {
		if got := string(newJSON(nil, c.utf8).quote(nil, c.in)); got != c.want {
			t.Errorf("%q: got %s, want %s", c.in, got, c.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	inUTC(t)
	var buf bytes.Buffer
	err := show(t, newTable(&buf, false), stream[:len(stream)-20])
	if !errors.Is(err, showqclient.ErrMalformed) || err.Error() != "malformed showq server response" || !strings.Contains(buf.String(), "alice") {
		t.Errorf("got %v and\n%s", err, buf.String())
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestOutputError(t *testing.T) {
	if err := show(t, newTable(failing{syscall.ENOSPC}, false), stream); err == nil || err.Error() != "output write error: No space left on device" {
		t.Errorf("got %v", err)
	}
	if err := show(t, newTable(failing{syscall.EPIPE}, false), stream); err != nil {
		t.Errorf("closed pipe: got %v", err)
	}
}
