package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// relay measures throughput and processor time: messages come in over 20
// sessions at a time, and count when the sink has them.
func relay(s *suite, o options, res *results) error {
	cpuBefore, err := s.cpuTime()
	if err != nil {
		return err
	}
	start, before := time.Now(), s.counter.count()
	if err := s.source("-s", "20", "-l", "4096", "-m", strconv.Itoa(o.messages)); err != nil {
		return err
	}
	if err := s.counter.await(before+o.messages, 10*time.Minute); err != nil {
		return err
	}
	elapsed := time.Since(start)
	cpuAfter, err := s.cpuTime()
	if err != nil {
		return err
	}
	res.add(s.name, throughput, float64(o.messages)/elapsed.Seconds())
	res.add(s.name, cpu, float64((cpuAfter-cpuBefore).Microseconds())/1000/float64(o.messages))
	return nil
}

// A client is an SMTP session of our own making.
type client struct {
	net.Conn
	in *bufio.Reader
}

// dial opens a session and reads the greeting.
func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReader(conn)}
	if err := c.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return nil, err
	}
	return c, c.expect("220")
}

func (c *client) expect(code string) error {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, code) {
			return fmt.Errorf("unexpected reply %q", line)
		}
		if len(line) > 3 && line[3] == ' ' {
			return nil
		}
	}
}

func (c *client) command(line, code string) error {
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	return c.expect(code)
}

// setUpSessions measures connect, EHLO, QUIT, 20 at a time.
func setUpSessions(s *suite, o options, res *results) error {
	const workers = 20
	errs := make(chan error, workers)
	start := time.Now()
	for w := range workers {
		go func() {
			for i := w; i < o.sessions; i += workers {
				if err := oneSession(s.in.Address()); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			return err
		}
	}
	res.add(s.name, setup, float64(o.sessions)/time.Since(start).Seconds())
	return nil
}

func oneSession(addr string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.command("EHLO bench.test", "250"); err != nil {
		return err
	}
	return c.command("QUIT", "221")
}

// memory measures what open sessions cost, each in the middle of a message.
func memory(s *suite, _ options, res *results) error {
	if err := s.quiet(); err != nil {
		return err
	}
	idle, err := s.pss()
	if err != nil {
		return err
	}
	res.add(s.name, memIdle, float64(idle))
	var open []*client
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	var at100 int
	for _, step := range []struct {
		sessions int
		record   func(pss int)
	}{
		{100, func(pss int) { at100 = pss; res.add(s.name, mem100, float64(pss)) }},
		{500, func(pss int) { res.add(s.name, memMore, float64(pss-at100)/400) }},
		{1000, func(pss int) { res.add(s.name, mem1000, float64(pss)) }},
	} {
		more, err := openSessions(s.in.Address(), step.sessions-len(open))
		open = append(open, more...)
		if err != nil {
			return err
		}
		pss, err := s.pss()
		if err != nil {
			return err
		}
		step.record(pss)
	}
	return nil
}

// quiet waits until the queue is empty, so that no delivery is measured.
func (s *suite) quiet() error {
	for range 600 {
		out, err := s.in.Command("postqueue", "-p").Output()
		if err != nil {
			return fmt.Errorf("postqueue -p: %w", err)
		}
		if bytes.HasPrefix(out, []byte("Mail queue is empty")) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the queue does not become empty")
}

// openSessions opens sessions that stay within a transaction.
func openSessions(addr string, n int) ([]*client, error) {
	var (
		mu   sync.Mutex
		open []*client
		err  error
		wg   sync.WaitGroup
	)
	slots := make(chan struct{}, 20)
	for range n {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c, dialErr := dial(addr)
			for _, step := range []struct{ line, code string }{
				{"EHLO bench.test", "250"}, {"MAIL FROM:<sender@bench.test>", "250"}, {"RCPT TO:<rcpt@remote.test>", "250"},
			} {
				if dialErr == nil {
					dialErr = c.command(step.line, step.code)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if c != nil {
				open = append(open, c)
			}
			if dialErr != nil {
				err = dialErr
			}
		})
	}
	wg.Wait()
	return open, err
}

// commands measures sendmail with a small message, and the start of commands.
func commands(s *suite, _ options, res *results) error {
	const runs = 30
	time1 := func(name, input string, args ...string) (float64, error) {
		path := filepath.Join(s.in.Bin, name)
		if name == "sendmail" && s.name == postfixSuite {
			path = "/usr/sbin/sendmail"
		}
		var times []float64
		for range runs {
			cmd := s.in.Command(name, args...)
			cmd.Path, cmd.Stdin = path, strings.NewReader(input)
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return 0, fmt.Errorf("%s: %w\n%s", name, err, out)
			}
			times = append(times, float64(time.Since(start).Microseconds())/1000)
		}
		return median(times), nil
	}
	before := s.counter.count()
	ms, err := time1("sendmail", "Subject: bench\n\nbody\n", "-f", "sender@bench.test", "rcpt@remote.test")
	if err != nil {
		return err
	}
	res.add(s.name, sendmail, ms)
	if err := s.counter.await(before+runs, time.Minute); err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"postconf", []string{"-h", "myhostname"}}, {"postqueue", []string{"-p"}}, {"postlog", []string{"-t", "bench", "text"}},
		{"postmap", []string{"-q", "key", "static:value"}},
	} {
		ms, err := time1(c.name, "", c.args...)
		if err != nil {
			return err
		}
		res.add(s.name, metric{name: "wall time of " + c.name + " " + c.args[0], unit: "ms"}, ms)
	}
	return nil
}
