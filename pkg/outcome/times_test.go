package outcome

import (
	"testing"
	"time"
)

func TestAppendDelay(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{4 * time.Millisecond, "0"},
		{96 * time.Millisecond, "0.1"},
		{123 * time.Millisecond, "0.12"},
		{1370 * time.Millisecond, "1.4"},
		{12600 * time.Millisecond, "13"},
		{5 * time.Millisecond, "0.01"},
		{10 * time.Millisecond, "0.01"},
		{-time.Second, "0"},
		{100 * time.Second, "100"},
	} {
		if got := string(appendDelay(nil, c.d, 2)); got != c.want {
			t.Errorf("appendDelay(%v) = %s, want %s", c.d, got, c.want)
		}
	}
}

func TestTimesWireForm(t *testing.T) {
	now := time.UnixMicro(1795359433829339)
	want := Times{Arrival: now, Active: now.Add(time.Second), Reuse: 3}
	got, err := DecodeTimes(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !got.Arrival.Equal(want.Arrival) || !got.Active.Equal(want.Active) || !got.HandOff.IsZero() || got.Reuse != 3 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := DecodeTimes(make([]byte, 87)); err == nil || err.Error() != "msg_stats_scan: size mis-match: 87 != 88" {
		t.Errorf("short structure: %v", err)
	}
}
