package verify

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/verifyclient"
)

// An entry is what is known about one address (spec delivery §14).
type entry struct {
	verdict verifyclient.Verdict
	probed  int64 // when the probe was sent that is still out, Unix time, 0: none
	updated int64 // when the result came in, 0: never
	text    string
}

// fresh is the entry of an address that nothing is known about.
var fresh = entry{verdict: verifyclient.InProgress, text: "Address verification in progress"}

// String returns the form that is stored: STATUS:PROBED:UPDATED:TEXT.
func (e entry) String() string {
	return strconv.Itoa(int(e.verdict)) + ":" + strconv.FormatInt(e.probed, 10) + ":" + strconv.FormatInt(e.updated, 10) + ":" + e.text
}

var errMalformed = errors.New("malformed entry")

// parseEntry reads that form.
func parseEntry(value string) (e entry, err error) {
	parts := strings.SplitN(value, ":", 4)
	if len(parts) != 4 {
		return e, errMalformed
	}
	var n [3]int64
	for i := range n {
		number, err := strconv.ParseUint(parts[i], 10, 63)
		if err != nil {
			return e, errMalformed
		}
		n[i] = int64(number)
	}
	if n[0] > int64(verifyclient.InProgress) || n[1] == 0 && n[2] == 0 {
		return e, errMalformed
	}
	return entry{verifyclient.Verdict(n[0]), n[1], n[2], parts[3]}, nil
}

// times say how long results count.
type times struct {
	positiveExpire, positiveRefresh time.Duration
	negativeExpire, negativeRefresh time.Duration
}

// probeTimeout is how long the answer to a probe is waited for, in seconds.
const probeTimeout = 1000

// waiting says whether a probe is out.
func (e entry) waiting(now int64) bool { return now-e.probed <= probeTimeout }

// expired and stale say whether a result is too old to count, or old enough
// to be asked for again.
func (e entry) expired(t *times, now int64) bool {
	return e.olderThan(t.positiveExpire, t.negativeExpire, now)
}

func (e entry) stale(t *times, now int64) bool {
	return e.olderThan(t.positiveRefresh, t.negativeRefresh, now)
}

func (e entry) olderThan(positive, negative time.Duration, now int64) bool {
	limit := negative
	if e.verdict == verifyclient.Deliverable {
		limit = positive
	}
	return e.updated+int64(limit/time.Second) < now
}
