package tlsmgr

import (
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

// exchangeSize is how much random data the file holds.
const exchangeSize = 1024

// An exchange is the file through which random state outlives the process
// (spec screen §18.3). Our random data comes from the system; the file is kept
// for the programs that stir it into theirs.
type exchange struct {
	path string
	mu   sync.Mutex
	file *os.File
}

func openExchange(path string) (*exchange, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("tls_prng_exch_open: cannot open PRNG exchange file %s: %s", path, syserr.Text(err))
	}
	x := &exchange{path: path, file: f}
	return x, x.write()
}

// updateFrom writes anew at random times within the period.
func (x *exchange) updateFrom(period time.Duration) {
	if period <= 0 {
		return
	}
	for {
		time.Sleep(time.Duration(float64(period) * (0.01 + 0.99*mathrand.Float64())))
		x.update()
	}
}

func (x *exchange) update() {
	if x == nil {
		return
	}
	if err := x.write(); err != nil {
		maillog.Warnf("%v", err)
	}
}

// write stirs what the file has into new random data, and puts that back.
func (x *exchange) write() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	fail := func(what string, err error) error {
		return fmt.Errorf("cannot %s PRNG exchange file %s: %s", what, x.path, syserr.Text(err))
	}
	if err := syscall.Flock(int(x.file.Fd()), syscall.LOCK_EX); err != nil {
		return fail("lock", err)
	}
	defer syscall.Flock(int(x.file.Fd()), syscall.LOCK_UN)
	old := make([]byte, exchangeSize)
	if _, err := x.file.ReadAt(old, 0); err != nil && !errors.Is(err, io.EOF) {
		return fail("read", err)
	}
	fresh := make([]byte, exchangeSize)
	if _, err := rand.Read(fresh); err != nil {
		return fail("fill", err)
	}
	for i := 0; i < exchangeSize; i += sha512.Size {
		mixed := sha512.Sum512(append(append([]byte(nil), old[i:i+sha512.Size]...), fresh[i:i+sha512.Size]...))
		copy(fresh[i:], mixed[:])
	}
	if _, err := x.file.WriteAt(fresh, 0); err != nil {
		return fail("write", err)
	}
	return nil
}
