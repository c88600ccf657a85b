package outcome

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// Times are the time stamps of one message on its way through the system
// (spec ipc §12). A zero time means that the step was not reached.
type Times struct {
	Arrival   time.Time // the message entered the mail system
	Active    time.Time // it entered the active queue
	HandOff   time.Time // the delivery agent received the request
	SetupDone time.Time // the connection to the remote system stood
	Delivered time.Time // the delivery attempt ended
	Reuse     int       // how many times the connection had been used before
}

// wireSize is the size of the native structure that peers exchange.
const wireSize = 5*16 + 8

// Encode returns the form in which the time stamps travel between processes.
func (t *Times) Encode() []byte {
	b := make([]byte, wireSize)
	for i, stamp := range []time.Time{t.Arrival, t.Active, t.HandOff, t.SetupDone, t.Delivered} {
		if stamp.IsZero() {
			continue
		}
		binary.NativeEndian.PutUint64(b[16*i:], uint64(stamp.Unix()))
		binary.NativeEndian.PutUint64(b[16*i+8:], uint64(stamp.Nanosecond()/1000))
	}
	binary.NativeEndian.PutUint32(b[80:], uint32(t.Reuse))
	return b
}

// DecodeTimes reads that form.
func DecodeTimes(b []byte) (t Times, err error) {
	if len(b) != wireSize {
		return t, fmt.Errorf("msg_stats_scan: size mis-match: %d != %d", len(b), wireSize)
	}
	for i, stamp := range []*time.Time{&t.Arrival, &t.Active, &t.HandOff, &t.SetupDone, &t.Delivered} {
		sec := int64(binary.NativeEndian.Uint64(b[16*i:]))
		usec := int64(binary.NativeEndian.Uint64(b[16*i+8:]))
		if sec != 0 || usec != 0 {
			*stamp = time.Unix(sec, usec*1000)
		}
	}
	t.Reuse = int(int32(binary.NativeEndian.Uint32(b[80:])))
	return t, nil
}

// appendDelays writes `delay=T, delays=A/B/C/D` (spec qmgr §16). Digits is
// delay_logging_resolution_limit.
func (t *Times) appendDelays(b []byte, digits int, now time.Time) []byte {
	done := t.Delivered
	if done.IsZero() {
		done = now
	}
	var a, q, c, d time.Duration
	switch {
	case t.Active.IsZero():
		a = done.Sub(t.Arrival)
	case t.HandOff.IsZero():
		a, q = t.Active.Sub(t.Arrival), done.Sub(t.Active)
	case t.SetupDone.IsZero():
		a, q, d = t.Active.Sub(t.Arrival), t.HandOff.Sub(t.Active), done.Sub(t.HandOff)
	default:
		a, q = t.Active.Sub(t.Arrival), t.HandOff.Sub(t.Active)
		c, d = t.SetupDone.Sub(t.HandOff), done.Sub(t.SetupDone)
	}
	b = append(b, "delay="...)
	b = appendDelay(b, done.Sub(t.Arrival), digits)
	b = append(b, ", delays="...)
	for i, step := range [...]time.Duration{a, q, c, d} {
		if i > 0 {
			b = append(b, '/')
		}
		b = appendDelay(b, step, digits)
	}
	return b
}

// appendDelay writes a time with two significant digits and at most the given
// number of decimals.
func appendDelay(b []byte, d time.Duration, digits int) []byte {
	if d < 0 {
		d = 0
	}
	us := d.Microseconds()
	sec, us := us/1e6, us%1e6
	r := int64(1)
	for i := digits; i < 6; i++ {
		r *= 10
	}
	if r < 1e6 {
		if sec > 0 {
			for n := int64(1); sec >= n && n <= 10; n *= 10 {
				r = 100000 * n
			}
		} else {
			for us >= 100*r {
				r *= 10
			}
		}
	}
	if r > 1 {
		us += r / 2
		sec, us = sec+us/1e6, us%1e6
	}
	b = strconv.AppendInt(b, sec, 10)
	if us >= r {
		b = append(b, '.')
		for unit := int64(100000); us >= r && unit > 0; unit /= 10 {
			b = append(b, byte('0'+us/unit))
			us %= unit
		}
	}
	return b
}
