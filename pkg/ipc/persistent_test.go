package ipc

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"suffix/pkg/attr"
)

// A request that no server can get is not repeated: the caller would wait for
// ever.
func TestUnsendableRequest(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir(Private, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", Private+"/x")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &Persistent{Class: Private, Service: "x"}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	calls := 0
	err = p.Call(ctx, func(c *attr.Conn) error {
		calls++
		return c.W.Str("address", "a\x00b").End()
	})
	var value *attr.ValueError
	if !errors.As(err, &value) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
