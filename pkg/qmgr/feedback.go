package qmgr

import (
	"math"
	"strconv"
	"strings"

	"suffix/pkg/maillog"
)

// feedback says by how much one delivery changes the concurrency of its
// destination (spec qmgr §9.1).
type feedback struct {
	parameter string
	kind      int     // what the number is divided by
	number    float64 // 0 to 1
}

const (
	feedbackFixed       = iota // by nothing
	feedbackConcurrency        // by the concurrency
	feedbackSqrt               // by its square root
)

// parseFeedback reads number, number/number, number/concurrency, or
// number/sqrt_concurrency. Anything else counts as 1, with a warning.
func parseFeedback(parameter, text string, log *maillog.Logger) feedback {
	f := feedback{parameter: parameter}
	numerator, denominator, divided := strings.Cut(text, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(numerator), 64)
	if err == nil && divided {
		switch denominator = strings.TrimSpace(denominator); {
		case strings.EqualFold(denominator, "concurrency"):
			f.kind = feedbackConcurrency
		case strings.EqualFold(denominator, "sqrt_concurrency"):
			f.kind = feedbackSqrt
		default:
			var d float64
			if d, err = strconv.ParseFloat(denominator, 64); err == nil {
				n /= d
			}
		}
	}
	if err != nil || !(n >= 0 && n <= 1) {
		log.Warnf("%s: ignoring malformed or unreasonable feedback: %s", parameter, text)
		return feedback{parameter: parameter, number: 1}
	}
	f.number = n
	return f
}

// value returns the feedback at a concurrency.
func (f feedback) value(window int) float64 {
	switch f.kind {
	case feedbackConcurrency:
		return f.number / float64(window)
	case feedbackSqrt:
		return f.number / math.Sqrt(float64(window))
	}
	return f.number
}
