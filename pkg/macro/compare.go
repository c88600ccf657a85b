package macro

import (
	"strconv"
	"strings"
)

// compare evaluates one comparison (spec config §3.3).
func compare(left, op, right string, level bool) (bool, error) {
	var order int
	switch {
	case level:
		l, err := levelOperand(left)
		if err != nil {
			return false, err
		}
		r, err := levelOperand(right)
		if err != nil {
			return false, err
		}
		order = l.Compare(r)
	case allDigits(left) && allDigits(right):
		l, err := number(left)
		if err != nil {
			return false, err
		}
		r, err := number(right)
		if err != nil {
			return false, err
		}
		switch {
		case l < r:
			order = -1
		case l > r:
			order = 1
		}
	default:
		order = strings.Compare(left, right)
	}
	switch op {
	case "==":
		return order == 0, nil
	case "!=":
		return order != 0, nil
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">=":
		return order >= 0, nil
	}
	return order > 0, nil
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, &Error{Text: "mac_exp_eval: bad conversion: " + s, Fatal: true}
	}
	return n, nil
}

func levelOperand(s string) (Level, error) {
	l, ok := ParseLevel(s)
	if !ok {
		return l, &Error{Text: "malformed compatibility level syntax: \"" + s + "\""}
	}
	return l, nil
}

// A Level is a compatibility_level, MAJOR[.MINOR[.PATCH]] (spec config §6.1).
type Level struct{ Major, Minor, Patch int64 }

// Limits of the numbers in a compatibility level.
const (
	maxLevelMajor = 1<<43 - 1
	maxLevelPart  = 1023
)

// ParseLevel reads a compatibility level; ok is false for a malformed one. As
// with other numbers, blanks and a sign may stand in front of each part.
func ParseLevel(text string) (l Level, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 3 {
		return l, false
	}
	var n [3]int64
	for i, part := range parts {
		part = strings.TrimLeft(part, " \t\n\v\f\r")
		limit := int64(maxLevelPart)
		if i == 0 {
			limit = maxLevelMajor
		}
		v, err := strconv.ParseInt(part, 10, 64)
		if err != nil || v < 0 || v > limit {
			return Level{}, false
		}
		n[i] = v
	}
	return Level{n[0], n[1], n[2]}, true
}

// Compare returns -1, 0 or 1 as l is older than, the same as, or newer than r.
func (l Level) Compare(r Level) int {
	for _, p := range [3][2]int64{{l.Major, r.Major}, {l.Minor, r.Minor}, {l.Patch, r.Patch}} {
		if p[0] < p[1] {
			return -1
		} else if p[0] > p[1] {
			return 1
		}
	}
	return 0
}
