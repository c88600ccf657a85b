// Crash proves that no crash loses mail. It runs a private instance of the mail
// system under load, kills its processes with SIGKILL at random, master
// included, and in the end compares what was accepted with what has arrived:
// every message for which a client got its 250, or sendmail the exit status 0,
// must be there, and nothing may be there that differs from what was sent.
// Duplicates are permitted, and counted.
//
// It exits with status 1 when a message is lost or damaged.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"suffix/test/e2e/peer"
	"suffix/test/instance"
)

type options struct {
	bin      string
	duration time.Duration
	seed     uint64
	senders  int
	interval time.Duration
}

func main() {
	o := options{}
	flag.StringVar(&o.bin, "bin", "bin", "directory with the programs")
	flag.DurationVar(&o.duration, "duration", time.Minute, "how long processes are killed")
	flag.Uint64Var(&o.seed, "seed", 0, "of the random numbers; 0: the clock")
	flag.IntVar(&o.senders, "senders", 4, "SMTP sessions at a time")
	flag.DurationVar(&o.interval, "interval", 300*time.Millisecond, "mean time between two kills")
	flag.Parse()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	ok, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
	}
	if !ok || err != nil {
		fmt.Fprintf(os.Stderr, "crash: FAILED with -seed %d\n", o.seed)
		os.Exit(1)
	}
}

// Limits of the time after the last kill.
const (
	restartTime = 2 * time.Minute // until the system runs again
	drainTime   = 5 * time.Minute // until the queue is empty
)

func run(o options) (ok bool, err error) {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "suffix-crash-")
	if err != nil {
		return false, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return false, err
	}
	defer func() {
		if ok && err == nil {
			err = os.RemoveAll(dir)
		} else {
			fmt.Fprintln(os.Stderr, "crash: everything is left in", dir)
		}
	}()
	books := newLedger()
	random := rand.New(rand.NewPCG(o.seed, 1))
	sink, err := peer.NewSink(peer.SinkOptions{Receive: books.receive, Reply: moody(o.seed)})
	if err != nil {
		return false, err
	}
	defer sink.Close()
	in, err := instance.Create(instance.Options{Dir: dir, Bin: bin, Main: map[string]string{
		"transport_maps":       "inline:{" + relayDomain + "=smtp:" + sink.NextHop() + "}",
		"local_recipient_maps": "", "smtpd_client_connection_count_limit": "0", "in_flow_delay": "0",
		// Letters have lines of any length, which must not be broken.
		"smtp_line_length_limit": "0",
		// Failures are forgotten soon: there are many.
		"minimal_backoff_time": "1s", "maximal_backoff_time": "2s", "queue_run_delay": "1s",
		"transport_retry_time": "1s", "service_throttle_time": "1s",
	}})
	if err != nil {
		return false, err
	}
	if err := in.Start(); err != nil {
		return false, err
	}
	k := &killer{in: in, random: random}
	defer k.killAll()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	fmt.Printf("seed %d: %v of kills, about one every %v, in %s\n", o.seed, o.duration, o.interval, dir)

	loading, stopLoad := context.WithCancel(ctx)
	var senders sync.WaitGroup
	for i := range o.senders {
		senders.Go(func() { books.sendSMTP(loading, in, o.seed, i) })
	}
	senders.Go(func() { books.sendLocally(loading, in, o.seed, o.senders) })
	err = k.run(ctx, o.duration, o.interval, books.progress)
	stopLoad()
	senders.Wait()
	if err != nil {
		return false, err
	}
	if ctx.Err() != nil {
		return false, errors.New("interrupted")
	}
	if err := k.ensureRunning(time.Now().Add(restartTime)); err != nil {
		return false, err
	}
	if err := drain(ctx, in); err != nil {
		return false, err
	}
	if err := books.readMailbox(in); err != nil {
		return false, err
	}
	fmt.Printf("killed %s\n", k.summary())
	ok = books.report(os.Stdout)
	for _, f := range sink.Faults() {
		ok = false
		fmt.Println("the SMTP client broke the protocol:", f)
	}
	corrupt, err := os.ReadDir(filepath.Join(in.Queue(), "corrupt"))
	if err != nil {
		return false, err
	}
	for _, e := range corrupt {
		fmt.Println("in the queue \"corrupt\":", e.Name())
	}
	return ok, nil
}

// moody makes the sink refuse a recipient for a time, now and then.
func moody(seed uint64) func(verb, argument string) string {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 2))
	return func(verb, _ string) string {
		mu.Lock()
		defer mu.Unlock()
		switch n := random.IntN(200); {
		case verb == "RCPT" && n == 0:
			return "450 4.2.1 not now"
		case verb == "." && n == 0:
			return "451 4.3.0 not now"
		case verb == "DATA" && n == 0:
			return "drop"
		}
		return ""
	}
}

// drain waits until everything is delivered.
func drain(ctx context.Context, in *instance.Instance) error {
	for deadline := time.Now().Add(drainTime); ; {
		out, err := in.Command("postqueue", "-j").Output()
		if err != nil {
			return fmt.Errorf("postqueue -j: %w", err)
		}
		if len(out) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v there is still in the queue:\n%s", drainTime, out)
		}
		if out, err := in.Command("postqueue", "-f").CombinedOutput(); err != nil {
			return fmt.Errorf("postqueue -f: %w\n%s", err, out)
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-time.After(time.Second):
		}
	}
}
