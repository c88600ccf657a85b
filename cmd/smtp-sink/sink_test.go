package main

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// talkTo runs one session with the sink and returns everything it says to the
// given input.
func talkTo(t *testing.T, args []string, input string) string {
	t.Helper()
	args = append(args, "-u", "nobody", "127.0.0.1:0", "10")
	o, err := parseOptions(args)
	if err != nil {
		t.Fatal(err)
	}
	k := newSink(o)
	ended := make(chan int, 1)
	k.exit = func(status int) { ended <- status }
	client, server := net.Pipe()
	go k.session(server)
	go func() { _, _ = client.Write([]byte(input)) }()
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, _ = out.ReadFrom(bufio.NewReader(client))
	client.Close()
	return strings.ReplaceAll(out.String(), "\r\n", "|")
}

const (
	ehloReply = "250-smtp-sink|250-PIPELINING|250-8BITMIME|250-AUTH PLAIN LOGIN|250-XCLIENT NAME HELO|250-XFORWARD NAME ADDR PROTO HELO|250-ENHANCEDSTATUSCODES|250-DSN|250 |"
	mailing   = "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n"
	accepted  = "250 2.1.0 Ok|250 2.1.5 Ok|250 2.1.5 Ok|354 End data with <CR><LF>.<CR><LF>|"
)

func TestSession(t *testing.T) {
	tests := []struct {
		name        string
		args        []string
		input, want string
	}{
		{"mail", nil, "EHLO x\r\n" + mailing + "hello\r\n.\r\nQUIT\r\n", "220 smtp-sink ESMTP|" + ehloReply + accepted + "250 2.0.0 Ok|221 Bye|"},
		{"empty content", nil, mailing + ".\r\nQUIT\r\n", "220 smtp-sink ESMTP|" + accepted + "250 2.0.0 Ok|221 Bye|"},
		{"bare newlines do not end", nil, mailing + "x\n.\ny\r\n..\r\n.\r\nNOOP\r\nQUIT\r\n", "220 smtp-sink ESMTP|" + accepted + "250 2.0.0 Ok|250 2.0.0 Ok|221 Bye|"},
		{"large", nil, mailing + strings.Repeat(strings.Repeat("x", 998)+"\r\n", 1000) + ".\r\nQUIT\r\n", "220 smtp-sink ESMTP|" + accepted + "250 2.0.0 Ok|221 Bye|"},
		{"order", nil, "RCPT TO:<a>\r\nDATA\r\nmail from:<a>\r\nMAIL FROM:<b>\r\nRSET\r\nFOO\r\n\r\nQUIT\r\n", "220 smtp-sink ESMTP|503 5.5.1 Error: need MAIL command|503 5.5.1 Error: need RCPT command|250 2.1.0 Ok|503 5.5.1 Error: nested MAIL command|250 2.1.0 Ok|500 5.5.1 Error: unknown command|500 5.5.2 Error: unknown command|221 Bye|"},
		{"LMTP", []string{"-L"}, "EHLO x\r\nLHLO x\r\n" + mailing + "hi\r\n.\r\nQUIT\r\n", "220 smtp-sink ESMTP|500 5.5.1 Error: unknown command|" + ehloReply + accepted + "250 2.2.0 Ok|250 2.2.0 Ok|221 Bye|"},
		{"no ESMTP", []string{"-e", "-h", "foo.bar"}, "EHLO x\r\nHELO x\r\nQUIT\r\n", "220 foo.bar|500 5.5.1 Error: unknown command|250 foo.bar|221 Bye|"},
		{"features", []string{"-8aCEFNp"}, "EHLO x\r\nXCLIENT a\r\nQUIT\r\n", "220 smtp-sink ESMTP|250-smtp-sink|250 |500 5.5.1 Error: unknown command|221 Bye|"},
		{"rejects", []string{"-r", "RCPT", "-f", "VRFY", "-b", "451 no"}, "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nVRFY x\r\nQUIT\r\n", "220 smtp-sink ESMTP|250 2.1.0 Ok|451 no|500 5.3.0 Error: command failed|221 Bye|"},
		{"shutdown", []string{"-Q", "noop"}, "NOOP\r\nQUIT\r\n", "220 smtp-sink ESMTP|421 4.0.0 Server closing connection|"},
		{"hang up", []string{"-q", "."}, mailing + "x\r\n.\r\nQUIT\r\n", "220 smtp-sink ESMTP|" + accepted},
		{"abort", []string{"-A", "0"}, mailing, "220 smtp-sink ESMTP|" + accepted + "550 This violates SMTP|"},
		{"PIX", []string{"-P"}, "QUIT\r\n", "220 ********|221 Bye|"},
		{"long line", nil, strings.Repeat("x", bufferSize+10), "220 smtp-sink ESMTP|"},
	}
	for _, test := range tests {
		if got := talkTo(t, test.args, test.input); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

// TestSplitEnd cuts the end of the content at every place.
func TestSplitEnd(t *testing.T) {
	const end = "x\r\n.\r\nQUIT\r\n"
	for cut := range len(end) {
		o, err := parseOptions([]string{"-u", "nobody", "127.0.0.1:0", "1"})
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		go newSink(o).session(server)
		go func() {
			for _, part := range []string{mailing, end[:cut], end[cut:]} {
				_, _ = client.Write([]byte(part))
			}
		}()
		if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		_, _ = out.ReadFrom(client)
		client.Close()
		if !strings.HasSuffix(out.String(), "250 2.0.0 Ok\r\n221 Bye\r\n") {
			t.Errorf("cut at %d: %q", cut, out.String())
		}
	}
}

func TestDump(t *testing.T) {
	dir := t.TempDir()
	talkTo(t, []string{"-D", dir + "/a/%Y%%", "-S", `From x\n\101`}, "HELO x.y\r\nMAIL FROM:<b> SIZE=10\r\nRCPT TO:<a>\r\nRCPT TO: <c> NOTIFY=NEVER\r\nDATA\r\nS: x\r\n\r\n.hi\r\n..\r\n\x00a\rb\r\n.\r\nQUIT\r\n")
	data, err := os.ReadFile(filepath.Join(dir, "a", time.Now().Format("2006")+"%"))
	if err != nil {
		t.Fatal(err)
	}
	head, tail := "From x\nAX-Client-Addr: 127.0.0.1\nX-Client-Proto: SMTP\nX-Helo-Args: x.y\nX-Mail-Args: <b> SIZE=10\nX-Rcpt-Args: <a>\nX-Rcpt-Args: <c> NOTIFY=NEVER\nReceived: from x.y ([127.0.0.1])\n\tby smtp-sink (smtp-sink) with SMTP id ", "\nS: x\n\nhi\n.\n\x00ab\n\n"
	if !strings.HasPrefix(string(data), head) || !strings.HasSuffix(string(data), tail) {
		t.Errorf("got %q", data)
	}
	// A message that is cut short leaves no file.
	talkTo(t, []string{"-d", dir + "/b/m.", "-q", "QUIT", "-t", "1"}, mailing+"x\r\n.\r\n"+mailing+"y\r\n")
	files, err := os.ReadDir(filepath.Join(dir, "b"))
	if err != nil || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
}

func TestOptions(t *testing.T) {
	for _, args := range [][]string{
		{"-u", "nobody", "x"}, {"-z"}, {"-u", "nobody", "-f", "FOO", ":1", "1"}, {"-u", "nobody", "-W", "DATA", ":1", "1"},
		{"-u", "nobody", "-W", "DATA:1:100", ":1", "1"}, {"-u", "nobody", "-b", "500 x", ":1", "1"}, {"-u", "nobody", "-m", "0", ":1", "1"}, {"-u", "nobody", ":1", "0"},
	} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	o, err := parseOptions([]string{"-u", "nobody", "-W", "mail:2:50", "-w", "3", "-6", "[::1]:25", "7"})
	if err != nil || o.actions["MAIL"].delay != 2*time.Second || o.actions["MAIL"].odds != 50 || o.actions["DATA"].delay != 3*time.Second || o.network != "tcp6" || o.backlog != 7 {
		t.Errorf("got %+v, %v", o, err)
	}
}
