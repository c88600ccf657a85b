// Run makes a private instance of the mail system, starts it, and shows it at
// work: one message over SMTP and one through sendmail, the log, and the
// messages as they arrived. Then it stays until it is interrupted, and stops
// the mail system; with -demo it does so at once.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net/smtp"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"suffix/test/instance"
)

func main() {
	demo := flag.Bool("demo", false, "stop after the demonstration")
	dir := flag.String("dir", "run", "directory of the instance")
	bin := flag.String("bin", "bin", "directory with the programs")
	port := flag.Int("port", 2525, "port of the SMTP service on 127.0.0.1")
	flag.Parse()
	if err := run(*dir, *bin, *port, *demo); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func run(dir, bin string, port int, demo bool) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	in, err := instance.Create(instance.Options{Dir: dir, Bin: bin, Port: port})
	if err != nil {
		return err
	}
	before, err := in.Messages()
	if err != nil {
		return err
	}
	if err := in.Start(); err != nil {
		return err
	}
	defer func() {
		if stopErr := in.Stop(); err == nil {
			err = stopErr
		}
	}()
	fmt.Printf("The mail system runs as %s below %s, with SMTP on %s.\n\n", in.Owner.Name, in.Dir, in.Address())
	log, err := os.Open(in.Log())
	if err != nil {
		return err
	}
	defer log.Close()
	if demo {
		if _, err := log.Seek(0, io.SeekEnd); err != nil {
			return err
		}
	}
	if err := send(in); err != nil {
		return err
	}
	if err := await(in, len(before)+2, interrupted); err != nil {
		copyLog(log)
		return err
	}
	messages, err := in.Messages()
	if err != nil {
		return err
	}
	copyLog(log)
	for _, m := range messages[max(0, len(messages)-2):] {
		fmt.Printf("\n---- arrived in %s\n%s", in.Maildir(), m)
	}
	if demo {
		return nil
	}
	fmt.Printf("\nEvery address of %s arrives there. Interrupt to stop.\n\n", instance.Domain)
	for {
		select {
		case <-interrupted:
			return nil
		case <-time.After(time.Second):
			copyLog(log)
		}
	}
}

// send submits one message over SMTP and one through sendmail.
func send(in *instance.Instance) error {
	to := "demo@" + instance.Domain
	text := "From: demo@suffix.test\r\nTo: " + to + "\r\nSubject: %s\r\n\r\nIt works.\r\n"
	if err := smtp.SendMail(in.Address(), nil, "demo@suffix.test", []string{to}, fmt.Appendf(nil, text, "over SMTP")); err != nil {
		return fmt.Errorf("send over SMTP: %w", err)
	}
	cmd := in.Command("sendmail", "-f", "demo@suffix.test", to)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(fmt.Sprintf(text, "through sendmail"), "\r\n", "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sendmail: %w\n%s", err, out)
	}
	return nil
}

// Limits of the wait for delivery.
const (
	deliveryTime = 30 * time.Second
	deliveryPoll = 50 * time.Millisecond
)

// await waits until the mailbox has so many messages.
func await(in *instance.Instance, want int, interrupted <-chan os.Signal) error {
	deadline := time.After(deliveryTime)
	for {
		messages, err := in.Messages()
		if err != nil || len(messages) >= want {
			return err
		}
		select {
		case <-time.After(deliveryPoll):
		case <-interrupted:
			return fmt.Errorf("interrupted")
		case <-deadline:
			return fmt.Errorf("%d of %d messages have arrived after %s", len(messages), want, deliveryTime)
		}
	}
}

// copyLog shows the lines that the log has got.
func copyLog(log *os.File) {
	if _, err := io.Copy(os.Stdout, bufio.NewReader(log)); err != nil {
		fmt.Fprintln(os.Stderr, "read log:", err)
	}
}
