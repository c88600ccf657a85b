package cleanupclient

import (
	"context"
	"strconv"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/params"
	"suffix/pkg/record"
)

// A Class tells the sources of mail apart, for internal_mail_filter_classes
// and smtputf8_autodetect_classes.
type Class string

const (
	ClassSendmail Class = "sendmail"
	ClassSMTPD    Class = "smtpd"
	ClassQMQPD    Class = "qmqpd"
	ClassForward  Class = "forward"
	ClassBounce   Class = "bounce"
	ClassNotify   Class = "notify"
	ClassVerify   Class = "verify"
)

// AutoUTF8Flag returns AutoUTF8 where smtputf8_autodetect_classes has the class.
func AutoUTF8Flag(cfg *config.Main, class Class) Flags {
	for _, c := range cfg.List(params.Smtputf8AutodetectClasses) {
		if c == string(class) || c == "all" {
			return AutoUTF8
		}
	}
	return 0
}

// InternalFlags returns the flags for mail that the mail system makes itself
// (spec submission §6).
func InternalFlags(cfg *config.Main, class Class) Flags {
	flags := Map | AutoUTF8Flag(cfg, class)
	for _, c := range cfg.List(params.InternalMailFilterClasses) {
		if c == string(class) {
			flags |= Filter | Milter
		}
	}
	return flags
}

// Mail is the envelope of internal mail: a notice or a probe.
type Mail struct {
	Sender, Recipient string // internal form; an empty sender for notices
	Class             Class
	Extra             Flags // SMTPUTF8, RequireTLS
	TraceFlags        int   // 256: address probe
}

// PostMail opens a message that the mail system makes itself and writes the
// envelope, the Received: and the Date: header. The caller adds the other
// headers and the body with Put(record.Text, line) and ends with EndMail.
func PostMail(ctx context.Context, cfg *config.Main, m Mail) (Stream, error) {
	s, err := Open(ctx, cfg.String(params.CleanupServiceName), InternalFlags(cfg, m.Class)|m.Extra)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	PutTime(s, now)
	PutAttr(s, "log_message_origin", "local")
	PutAttr(s, "trace_flags", strconv.Itoa(m.TraceFlags))
	s.Put(record.Sender, m.Sender)
	s.Put(record.Recipient, m.Recipient)
	s.Put(record.Content, "")
	date := Date(now, cfg.Dialect37())
	s.Put(record.Text, "Received: by "+cfg.String(params.Myhostname)+" ("+cfg.String(params.MailName)+")")
	s.Put(record.Text, "\tid "+s.QueueID()+"; "+date)
	s.Put(record.Text, "Date: "+date)
	return s, nil
}

// PutTime adds the arrival time.
func PutTime(s Stream, t time.Time) {
	s.Put(record.Time, strconv.FormatInt(t.Unix(), 10)+" "+strconv.Itoa(t.Nanosecond()/1000))
}

// EndMail ends a message opened with PostMail.
func EndMail(s Stream) (Status, string, error) {
	s.Put(record.Extracted, "")
	s.Put(record.End, "")
	return s.Finish()
}

// Date returns a time as headers show it: "Sun, 22 Nov 2026 14:42:43 +0000 (UTC)",
// local time. Release 3.7 pads the day with a blank.
func Date(t time.Time, dialect37 bool) string {
	if dialect37 {
		return t.Format("Mon, _2 Jan 2006 15:04:05 -0700 (MST)")
	}
	return t.Format("Mon, 02 Jan 2006 15:04:05 -0700 (MST)")
}
