package localdelivery

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/params"
	"suffix/pkg/record"
)

// A forward is a new message on its way to cleanup: the same content for
// addresses that another agent, or a later round, delivers to.
type forward struct {
	delivered, sender string
	stream            cleanupclient.Stream
}

// resubmit sends the message on to an address (spec delivery §8.8).
func (d *delivery) resubmit(s state) outcome.Result {
	if d.seen.duplicate("forward", s.rcpt.Address) {
		return outcome.Done
	}
	if d.probing() {
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "forwards to " + s.rcpt.Address})
	}
	f := d.forwardFor(s)
	if f == nil {
		return d.later(s, "4.3.0", "unable to forward message")
	}
	if s.rcpt.ORCPT != "" {
		cleanupclient.PutAttr(f.stream, "dsn_orig_rcpt", oneLine(s.rcpt.ORCPT))
	}
	if s.rcpt.Notify != 0 {
		cleanupclient.PutAttr(f.stream, "notify_flags", strconv.Itoa(int(s.rcpt.Notify)))
	}
	if s.rcpt.Original != "" {
		f.stream.Put(record.OrigRecipient, oneLine(s.rcpt.Original))
	}
	f.stream.Put(record.Recipient, oneLine(s.rcpt.Address))
	return outcome.Done
}

// oneLine replaces what would end a line or a string in an envelope.
var oneLine = strings.NewReplacer("\r", "?", "\n", "?", "\x00", "?").Replace

// forwardFor returns the message for this delivered-to address and sender,
// opening it on first use; nil when cleanup cannot be reached.
func (d *delivery) forwardFor(s state) *forward {
	for _, f := range d.forwards {
		if f.delivered == s.delivered && f.sender == s.sender {
			return f
		}
	}
	flags := cleanupclient.Bounce | cleanupclient.Map | cleanupclient.AutoUTF8Flag(d.cfg, cleanupclient.ClassForward)
	if d.req.SendOpts&deliver.OptSMTPUTF8 != 0 {
		flags |= cleanupclient.SMTPUTF8
	}
	if d.req.SendOpts&deliver.OptRequireTLS != 0 {
		flags |= cleanupclient.RequireTLS
	}
	stream, err := cleanupclient.Open(d.ctx, d.cfg.String(params.CleanupServiceName), flags)
	if err != nil {
		maillog.Warnf("%v", err)
		return nil
	}
	cleanupclient.PutTime(stream, time.Now())
	stream.Put(record.Sender, oneLine(s.sender))
	r := d.req
	for _, a := range []struct{ name, value string }{
		{"ret_flags", number(int(r.Ret))}, {"envelope_id", r.EnvelopeID},
		{"log_client_name", r.ClientName}, {"log_client_address", r.ClientAddress},
		{"log_protocol_name", r.ClientProtocol}, {"log_helo_name", r.ClientHelo},
		{"sasl_method", r.SASLMethod}, {"sasl_username", r.SASLUsername}, {"sasl_sender", r.SASLSender},
		{"log_ident", r.LogIdent}, {"rewrite_context", r.RewriteContext},
	} {
		if a.value != "" {
			cleanupclient.PutAttr(stream, a.name, oneLine(a.value))
		}
	}
	f := &forward{delivered: s.delivered, sender: s.sender, stream: stream}
	d.forwards = append(d.forwards, f)
	return f
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// finish completes the forwarded messages when everything else is done, and
// drops them otherwise: the next round makes them anew.
func (d *delivery) finish(result outcome.Result) outcome.Result {
	for i, f := range d.forwards {
		if result == outcome.Retry {
			for _, rest := range d.forwards[i:] {
				rest.stream.Abort()
			}
			return result
		}
		result = d.send(f)
	}
	return result
}

// send writes the content of a forwarded message.
func (d *delivery) send(f *forward) outcome.Result {
	f.stream.Put(record.Content, "")
	f.stream.Put(record.Text, "Received: by "+d.cfg.String(params.Myhostname)+" ("+d.cfg.String(params.MailName)+")")
	f.stream.Put(record.Text, "\tid "+f.stream.QueueID()+"; "+cleanupclient.Date(time.Now(), d.dialect37))
	if d.prependDelivered["forward"] {
		f.stream.Put(record.Text, oneLine("Delivered-To: "+strings.ToLower(f.delivered)))
	}
	if err := d.content(f.stream); err != nil {
		f.stream.Abort()
		if record.IsBad(err) || err == io.EOF {
			d.req.MarkCorrupt(d.req.QueueName + "/" + d.req.QueueID)
		}
		maillog.Warnf("%s: cannot forward message: %v", d.req.QueueID, err)
		return outcome.Retry
	}
	f.stream.Put(record.Extracted, "")
	f.stream.Put(record.End, "")
	status, _, err := f.stream.Finish()
	if err != nil {
		maillog.Warnf("%s: cannot forward message: %v", d.req.QueueID, err)
		return outcome.Retry
	}
	if status != 0 {
		return outcome.Retry
	}
	top := d.top
	top.Notify &^= dsn.NotifySuccess
	if top.Notify == 0 && d.top.Notify != 0 {
		top.Notify = dsn.NotifyNever
	}
	return d.req.Recorder().Sent(d.req.Message(), top, d.at(),
		dsn.DSN{Status: "2.0.0", Action: "relayed", Reason: "forwarded as " + f.stream.QueueID()})
}

// content copies the message's content records.
func (d *delivery) content(to cleanupclient.Stream) error {
	in := record.NewFileReader(d.req.File, d.req.QueueID)
	in.SeekTo(d.req.Offset)
	first := true
	for {
		t, data, err := in.Next()
		if err != nil {
			return err
		}
		switch t {
		case record.Text, record.Fragment:
			// A message without header: its first line must not continue ours.
			if first && len(data) > 0 && bytes.IndexByte([]byte(" \t"), data[0]) >= 0 {
				to.Put(record.Text, "")
			}
			first = false
			to.PutBytes(t, data)
		default:
			return nil
		}
	}
}
