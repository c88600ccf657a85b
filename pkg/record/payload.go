package record

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Sizes is the payload of a Size record (spec queue-files §7.1).
type Sizes struct {
	Segment    int64 // bytes of records in the content segment
	Offset     int64 // file offset of the first content record
	Recipients int   // number of Recipient records
	Options    int   // bit 0: recipients are mixed with other records; notify masks << 1
	Content    int64 // content length, after changes by Milters
	SendOpts   int   // SMTPUTF8 1|2|4, TLS-Required: no 16, REQUIRETLS 32
}

// SizeLength is the payload length of a Size record in a queue file.
const SizeLength = 6*15 + 5

// SendOptsMask has the bits of Sizes.SendOpts that are known.
const SendOptsMask = 1 | 2 | 4 | 8 | 16 | 32

// AppendSizes adds a Size record. It always takes the same room, so that it can
// be replaced in place when the message is complete.
func AppendSizes(buf []byte, s Sizes) []byte {
	return Append(buf, Size, fmt.Sprintf("%15d %15d %15d %15d %15d %15d",
		s.Segment, s.Offset, s.Recipients, s.Options, s.Content, s.SendOpts))
}

// ErrWeirdSize says that a Size record does not hold numbers.
var ErrWeirdSize = errors.New("weird size record")

// ParseSizes reads the payload of a Size record. Old files have fewer fields;
// missing ones have Postfix's defaults. Fields returns how many there are: with
// one, the message is too old to be read here. Unknown bits of SendOpts are
// dropped.
func ParseSizes(payload []byte) (s Sizes, fields int, err error) {
	var n [6]int64
	n[3] = 1
	rest := string(payload)
	for fields < len(n) {
		rest = strings.TrimLeft(rest, " ")
		word, tail, _ := strings.Cut(rest, " ")
		if word == "" {
			break
		}
		v, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			break
		}
		n[fields] = v
		fields++
		rest = tail
	}
	if fields != 1 && fields < 3 || n[2] < math.MinInt32 || n[2] > math.MaxInt32 || n[3] < math.MinInt32 || n[3] > math.MaxInt32 {
		return Sizes{}, fields, ErrWeirdSize
	}
	s = Sizes{Segment: n[0], Offset: n[1], Recipients: int(n[2]), Options: int(n[3]), Content: n[4], SendOpts: int(n[5] & SendOptsMask)}
	if s.Content == 0 {
		s.Content = s.Segment
	}
	return s, fields, nil
}

// AppendTime adds a Time record: seconds and microseconds.
func AppendTime(buf []byte, sec, usec int64) []byte {
	var b [48]byte
	p := strconv.AppendInt(b[:0], sec, 10)
	p = append(p, ' ')
	p = strconv.AppendInt(p, usec, 10)
	return Append(buf, Time, p)
}

// ParseTime reads the payload of a Time record. Microseconds may be missing.
// ok is false where there is no number at all.
func ParseTime(payload []byte) (sec, usec int64, ok bool) {
	sec, rest, ok := leadingNumber(payload)
	if !ok {
		return 0, 0, false
	}
	usec, _, _ = leadingNumber(rest)
	return sec, usec, true
}

// leadingNumber reads blanks, an optional sign and digits.
func leadingNumber(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	start := i
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		i++
	}
	digits := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	if i == digits {
		return 0, b, false
	}
	n, err := strconv.ParseInt(string(b[start:i]), 10, 64)
	return n, b[i:], err == nil
}

// ParseNumber reads a payload that is one decimal number, such as that of Warn.
func ParseNumber(payload []byte) (int64, error) {
	return strconv.ParseInt(strings.Trim(string(payload), " \t"), 10, 64)
}

var errPointer = errors.New("malformed pointer")

// ParsePointer reads the payload of a Pointer record: blanks and digits only.
func ParsePointer(payload []byte) (int64, error) {
	i := 0
	for i < len(payload) && (payload[i] == ' ' || payload[i] == '\t') {
		i++
	}
	if i == len(payload) {
		return 0, errPointer
	}
	var n int64
	for ; i < len(payload); i++ {
		d := payload[i]
		if d < '0' || d > '9' || n > (math.MaxInt64-9)/10 {
			return 0, errPointer
		}
		n = n*10 + int64(d-'0')
	}
	return n, nil
}

// Errors of SplitAttr, in Postfix's words.
var (
	ErrNoAttrName = errors.New("missing attribute name")
	ErrNoAttrSep  = errors.New("missing '=' after attribute name")
)

// SplitAttr reads the payload of an Attr record: blanks, a name that ends at a
// blank or '=', blanks, '=', and a value without the blanks around it.
func SplitAttr(payload []byte) (name, value []byte, err error) {
	p := trimLeft(payload)
	i := 0
	for i < len(p) && !space(p[i]) && p[i] != '=' {
		i++
	}
	name = p[:i]
	if i == 0 {
		return nil, nil, ErrNoAttrName
	}
	p = trimLeft(p[i:])
	if len(p) == 0 || p[0] != '=' {
		return nil, nil, ErrNoAttrSep
	}
	value = trimLeft(p[1:])
	for len(value) > 0 && space(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	return name, value, nil
}

func space(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

func trimLeft(b []byte) []byte {
	for len(b) > 0 && space(b[0]) {
		b = b[1:]
	}
	return b
}

// DSNType returns the record type that stands for a DSN attribute in old
// files and in cleanup's input, or 0: envelope_id, ret_flags, dsn_orig_rcpt,
// notify_flags.
func DSNType(name string) Type {
	switch name {
	case "envelope_id":
		return DSNEnvID
	case "ret_flags":
		return DSNRet
	case "dsn_orig_rcpt":
		return DSNOrigRcpt
	case "notify_flags":
		return DSNNotify
	}
	return 0
}

// printable makes file content fit to be logged.
func printable(b []byte) string {
	if len(b) > 100 {
		b = b[:100]
	}
	out := make([]byte, len(b))
	for i, c := range b {
		if c < ' ' || c > '~' {
			c = '?'
		}
		out[i] = c
	}
	return string(out)
}
