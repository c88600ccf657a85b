package rewriteclient

import (
	"context"
	"errors"
	"testing"
	"time"

	"suffix/pkg/attr"
)

// engine counts the questions.
type engine struct{ asked int }

func (e *engine) Rewrite(_ Rule, address string) (string, error) {
	e.asked++
	return address + "@here", nil
}

func (e *engine) Resolve(_, address string, verify bool) (Reply, error) {
	e.asked++
	if verify {
		return Reply{Transport: "probe"}, nil
	}
	return Reply{Transport: "smtp", Recipient: address}, nil
}

// nobody is a service that does not answer.
type nobody struct{}

var errNobody = errors.New("no service")

func (nobody) Call(context.Context, func(*attr.Conn) error) error { return errNobody }

func TestInProcess(t *testing.T) {
	e := &engine{}
	InProcess = e
	defer func() { InProcess = nil }()
	c := NewWith(nobody{})
	ctx := context.Background()
	for range 2 { // nothing is remembered: the engine knows when a table changes
		if got, err := c.Rewrite(ctx, Local, "joe"); got != "joe@here" || err != nil {
			t.Error(got, err)
		}
		if got, err := c.Resolve(ctx, "", "joe"); got.Transport != "smtp" || err != nil {
			t.Error(got, err)
		}
		if got, err := c.VerifyResolve(ctx, "", "joe"); got.Transport != "probe" || err != nil {
			t.Error(got, err)
		}
	}
	if e.asked != 6 {
		t.Errorf("%d questions", e.asked)
	}
}

func TestErrors(t *testing.T) {
	c := NewWith(nobody{})
	ctx := context.Background()
	if _, err := c.Rewrite(ctx, Local, "joe"); !errors.Is(err, errNobody) {
		t.Error(err)
	}
	if _, err := c.Resolve(ctx, "", "joe"); !errors.Is(err, errNobody) {
		t.Error(err)
	}
	if _, err := c.Rewrite(ctx, Local, "a\x00b"); err == nil || errors.Is(err, errNobody) {
		t.Error(err)
	}
	if _, err := c.Resolve(ctx, "s\x00", "joe"); err == nil || errors.Is(err, errNobody) {
		t.Error(err)
	}
}

func TestRecent(t *testing.T) {
	r := newRecent[int, int]()
	for i := range 3 * recentSize {
		r.put(i, i)
	}
	if len(r.young)+len(r.old) > 2*recentSize {
		t.Errorf("%d results kept", len(r.young)+len(r.old))
	}
	if _, ok := r.get(0); ok {
		t.Error("the oldest result is still there")
	}
	last := 3*recentSize - 1
	if v, ok := r.get(last); !ok || v != last {
		t.Error("the youngest result is lost")
	}
	r.young[last] = dated[int]{last, time.Now().Add(-2 * recentTTL)}
	if _, ok := r.get(last); ok {
		t.Error("an old result counts")
	}
}
