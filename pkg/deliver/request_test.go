package deliver

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/dsn"
)

// captured is a request as release 3.7 sends it, but for the time stamps.
const captured = "flags\x003\x00queue_name\x00active\x00queue_id\x00D445A99E029\x00offset\x00844\x00size\x00338\x00nexthop\x00[127.0.0.1]:4725\x00" +
	"encoding\x00\x00smtputf8\x000\x00sender\x00sender@example.test\x00envelope_id\x00abc\x00ret_flags\x002\x00time\x00TIME\x00" +
	"log_client_name\x00localhost\x00log_client_address\x00127.0.0.1\x00log_client_port\x0045740\x00log_protocol_name\x00ESMTP\x00" +
	"log_helo_name\x00client.example.test\x00sasl_method\x00\x00sasl_username\x00\x00sasl_sender\x00\x00log_ident\x00D445A99E029\x00" +
	"rewrite_context\x00local\x00recipient_count\x002\x00\x00" +
	"original_recipient\x00rcpt1@remote.example\x00recipient\x00rcpt1@remote.example\x00offset\x00717\x00dsn_orig_rcpt\x00rfc822;rcpt1@remote.example\x00notify_flags\x006\x00\x00" +
	"original_recipient\x00rcpt2@remote.example\x00recipient\x00rcpt2@remote.example\x00offset\x00800\x00dsn_orig_rcpt\x00rfc822;rcpt2@remote.example\x00notify_flags\x000\x00\x00"

// stamps are the captured time stamps: 48 bytes used, the rest zero.
const stamps = "yQIDawAAAACbpwwAAAAAAMkCA2sAAAAAw4gNAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="

func wire(form string) string {
	return strings.Replace(strings.Replace(captured, "TIME", stamps, 1), "smtputf8", form, 1)
}

func reader(text string) *attr.Reader {
	return attr.NewReader(bufio.NewReader(strings.NewReader(text)), attr.Null, "smtp socket")
}

func TestRequestWireForm(t *testing.T) {
	for _, form := range []string{"smtputf8", "sendopts"} {
		r, err := ReadRequest(reader(wire(form)))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if r.Times.Arrival.UTC().Format(time.RFC3339Nano) != "2026-11-22T14:57:13.829339Z" {
			t.Errorf("arrival %v", r.Times.Arrival.UTC())
		}
		if len(r.Recipients) != 2 || r.Recipients[0].Notify != dsn.NotifySuccess|dsn.NotifyFailure || r.Recipients[1].Offset != 800 || r.Ret != dsn.RetHdrs {
			t.Errorf("got %+v", r)
		}
		var buf bytes.Buffer
		w := attr.NewWriter(&buf, attr.Null)
		r.Put(w, form == "smtputf8")
		if err := w.Flush(); err != nil || buf.String() != wire(form) {
			t.Errorf("%s written as\n%q, %v, want\n%q", form, buf.String(), err, wire(form))
		}
	}
}

func TestBadRequests(t *testing.T) {
	good := wire("sendopts")
	for name, text := range map[string]string{
		"empty":              "",
		"cut":                good[:len(good)/2],
		"wrong order":        strings.Replace(good, "queue_name\x00active\x00queue_id\x00D445A99E029\x00", "queue_id\x00D445A99E029\x00queue_name\x00active\x00", 1),
		"short time stamps":  strings.Replace(good, stamps, "AAAA", 1),
		"missing recipient":  strings.Replace(good, "recipient_count\x002", "recipient_count\x003", 1),
		"negative count":     strings.Replace(good, "recipient_count\x002", "recipient_count\x00-1", 1),
		"excessive count":    strings.Replace(good, "recipient_count\x002", "recipient_count\x001048577", 1),
		"bad number":         strings.Replace(good, "offset\x00844", "offset\x00x", 1),
		"negative recipient": strings.Replace(good, "notify_flags\x006", "notify_flags\x00", 1),
	} {
		if r, err := ReadRequest(reader(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, r)
		}
	}
}

func TestReplyWireForm(t *testing.T) {
	for _, c := range []struct {
		reply Reply
		want  string
	}{
		{Reply{}, "status\x00\x00diag_type\x00\x00diag_text\x00\x00mta_type\x00\x00mta_mname\x00\x00action\x00\x00reason\x00\x00status\x000\x00\x00"},
		{Reply{Hop: dsn.DSN{Status: "4.4.1", Reason: "connect to 127.0.0.1[127.0.0.1]:9: Connection refused"}, Retry: true},
			"status\x004.4.1\x00diag_type\x00\x00diag_text\x00\x00mta_type\x00\x00mta_mname\x00\x00action\x00\x00reason\x00connect to 127.0.0.1[127.0.0.1]:9: Connection refused\x00status\x004294967295\x00\x00"},
	} {
		var buf bytes.Buffer
		w := attr.NewWriter(&buf, attr.Null)
		c.reply.Put(w)
		if err := w.Flush(); err != nil || buf.String() != c.want {
			t.Errorf("got %q, %v, want %q", buf.String(), err, c.want)
		}
		if got, err := ReadReply(reader(buf.String())); err != nil || got != c.reply {
			t.Errorf("read back %+v, %v", got, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(wire("sendopts"))
	f.Add(wire("smtputf8"))
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := ReadRequest(reader(text)); err == nil {
			w := attr.NewWriter(&bytes.Buffer{}, attr.Null)
			r.Put(w, false)
			if err := w.Flush(); err != nil {
				t.Errorf("cannot write what was read: %v", err)
			}
		}
	})
}
