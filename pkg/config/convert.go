package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"suffix/pkg/params"
)

// ParseBool reads yes or no, in any case (spec config §4).
func ParseBool(text string) (value, ok bool) {
	switch {
	case strings.EqualFold(text, "yes"):
		return true, true
	case strings.EqualFold(text, "no"):
		return false, true
	}
	return false, false
}

// ParseInt reads a decimal number as strtol does: blanks and a sign may stand
// in front, nothing after it. It must fit bits.
func ParseInt(text string, bits int) (value int64, ok bool) {
	digits := strings.TrimPrefix(skipSpace(text), "+")
	if digits == "" || digits[0] == '+' || len(digits) < len(skipSpace(text)) && digits[0] == '-' {
		return 0, false
	}
	value, err := strconv.ParseInt(digits, 10, bits)
	return value, err == nil && strings.IndexByte(digits, '_') < 0
}

// ParseTime reads a time: a number and one unit letter, unit where it is
// missing. The result is in seconds (spec config §4).
func ParseTime(text string, unit byte) (seconds int64, ok bool) {
	if text == "" {
		return 0, false
	}
	rest := skipSpace(text)
	n := 0
	if rest != "" && (rest[0] == '+' || rest[0] == '-') {
		n++
	}
	signed := n
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	var number int64
	if n > signed {
		var err error
		if number, err = strconv.ParseInt(strings.TrimPrefix(rest[:n], "+"), 10, 64); err != nil {
			return 0, false
		}
		rest = rest[n:]
	} else {
		rest = text // no digits at all: zero, and the text starts with the unit
	}
	if rest != "" {
		unit = rest[0]
	}
	switch scale := unitSeconds(unit); {
	case number < 0 || number > math.MaxInt32:
		return 0, false
	case scale == 1:
		return number, true
	default:
		return number * scale, number < math.MaxInt32/max(scale, 1) && scale != 0
	}
}

func unitSeconds(unit byte) int64 {
	switch unit {
	case 's':
		return 1
	case 'm':
		return 60
	case 'h':
		return 3600
	case 'd':
		return 86400
	case 'w':
		return 604800
	}
	return 0
}

// convertBool and its kin turn the expanded text of a parameter into its
// value; the error is Postfix's fatal text. name may differ from p.Name: the
// settings of a transport borrow the declaration of their default.
func convertBool(name, text string) (bool, error) {
	v, ok := ParseBool(text)
	if !ok {
		return false, fmt.Errorf("bad boolean configuration: %s = %s", name, text)
	}
	return v, nil
}

func convertInt(p *params.Param, name, text string) (int64, error) {
	bits := 32
	if p.Kind == params.KindLong {
		bits = 64
	}
	v, ok := ParseInt(text, bits)
	switch {
	case !ok:
		return 0, fmt.Errorf("bad numerical configuration: %s = %s", name, text)
	case belowMin(v, p.Min):
		return 0, fmt.Errorf("invalid %s parameter value %d < %d", name, v, p.Min)
	case aboveMax(v, p.Max):
		return 0, fmt.Errorf("invalid %s parameter value %d > %d", name, v, p.Max)
	}
	return v, nil
}

func convertTime(p *params.Param, name, text string) (int64, error) {
	v, ok := ParseTime(text, p.Unit)
	switch {
	case !ok:
		return 0, fmt.Errorf("parameter %s: bad time value or unit: %s", name, text)
	case belowMin(v, p.Min):
		return 0, fmt.Errorf("invalid %s: %d (min %d)", name, v, p.Min)
	case aboveMax(v, p.Max):
		return 0, fmt.Errorf("invalid %s: %d (max %d)", name, v, p.Max)
	}
	return v, nil
}

func checkLength(p *params.Param, name, text string) error {
	n, low, high := int64(len(text)), "bad string length %d < %d: %s = %s", "bad string length %d > %d: %s = %s"
	if p.Kind == params.KindRaw {
		low, high = "bad string length (%d < %d): %s = %s", "bad string length (%d > %d): %s = %s"
	}
	switch {
	case belowMin(n, p.Min):
		return fmt.Errorf(low, n, p.Min, name, text)
	case aboveMax(n, p.Max):
		return fmt.Errorf(high, n, p.Max, name, text)
	}
	return nil
}

// A bound of 0 is no bound, as in Postfix.
func belowMin(v, limit int64) bool { return limit != params.NoLimit && limit != 0 && v < limit }
func aboveMax(v, limit int64) bool { return limit != params.NoLimit && limit != 0 && v > limit }
