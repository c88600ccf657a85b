// Crash kills processes of a running mail system at random, master included,
// while messages go through it, and proves at the end that nothing that got
// its 250 was lost and nothing was delivered damaged. Duplicates are allowed,
// as a crash between delivery and its record must cause them, and counted.
//
// Every message has a number and the digest of its body. Half of them go to a
// maildir, half to an SMTP server of this program.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"suffix/test/instance"
)

func main() {
	bin := flag.String("bin", "bin", "directory with the programs")
	duration := flag.Duration("duration", time.Minute, "how long processes are killed")
	seed := flag.Uint64("seed", 0, "of the random choices; 0: another one each time")
	keep := flag.Bool("keep", false, "keep the instance's directory")
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	if err := run(*bin, *duration, *seed, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func run(bin string, duration time.Duration, seed uint64, keep bool) (err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "suffix-crash-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if keep {
		fmt.Println("instance in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	fmt.Printf("seed %d, for %v\n", seed, duration)
	arrived := newArrivals()
	sink, err := listen(arrived)
	if err != nil {
		return err
	}
	defer sink.Close()
	in, err := instance.Create(instance.Options{Dir: dir, Bin: bin, Main: map[string]string{
		"relayhost":                           "[127.0.0.1]:" + fmt.Sprint(sink.port()),
		"minimal_backoff_time":                "1s",
		"maximal_backoff_time":                "2s",
		"queue_run_delay":                     "1s",
		"service_throttle_time":               "1s",
		"transport_retry_time":                "1s",
		"smtpd_client_connection_count_limit": "0",
	}})
	if err != nil {
		return err
	}
	s := &system{in: in, random: rand.New(rand.NewPCG(seed, seed))}
	if err := s.start(); err != nil {
		return err
	}
	defer s.stop()

	load := &load{addr: in.Address(), accepted: make(map[int]bool)}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	const workers = 10
	for w := range workers {
		wg.Go(func() { load.worker(w, workers, stop) })
	}
	killErr := s.killFor(duration)
	close(stop)
	wg.Wait()
	if killErr != nil {
		return killErr
	}
	if err := s.settle(5 * time.Minute); err != nil {
		return err
	}
	if err := arrived.readMaildir(in.Maildir()); err != nil {
		return err
	}
	return report(load, arrived, s)
}

// report compares what was accepted with what arrived.
func report(l *load, a *arrivals, s *system) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	lost, duplicates := 0, 0
	for n := range l.accepted {
		if a.count[n] == 0 {
			lost++
			if lost <= 10 {
				fmt.Printf("lost: message %d\n", n)
			}
		}
	}
	for _, c := range a.count {
		duplicates += c - 1
	}
	fmt.Printf("%d processes killed, %d of them master\n", s.killed, s.mastersKilled)
	fmt.Printf("%d messages accepted, %d delivered, %d lost, %d damaged, %d duplicates\n",
		len(l.accepted), len(a.count), lost, a.damaged, duplicates)
	switch {
	case len(l.accepted) == 0 || s.killed == 0:
		return fmt.Errorf("nothing was tested")
	case lost > 0 || a.damaged > 0:
		return fmt.Errorf("%d messages lost, %d damaged", lost, a.damaged)
	}
	return nil
}
