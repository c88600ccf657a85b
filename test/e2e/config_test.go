package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edit appends lines to a file of the configuration, and returns a function
// that takes them away.
func (s *system) edit(t *testing.T, name, lines string) (line int, undo func()) {
	t.Helper()
	path := filepath.Join(s.Config(), name)
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append(text[:len(text):len(text)], lines+"\n"...), 0o644))
	must(t, s.age())
	return strings.Count(string(text), "\n") + 1, func() {
		t.Helper()
		must(t, os.WriteFile(path, text, 0o644))
		must(t, s.age())
	}
}

// TestBadMainCF has lines in main.cf that every program refuses, with the
// texts.
func TestBadMainCF(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"junk", "FILE, line N: missing '=' after attribute name: \"junk\""},
		{"= value", "FILE, line N: missing attribute name: \"= value\""},
		{"default_process_limit = many", "bad numerical configuration: default_process_limit = many"},
		{"soft_bounce = maybe", "bad boolean configuration: soft_bounce = maybe"},
		{"line_length_limit = 0", "invalid line_length_limit parameter value 0 < 512"},
		{"delay_logging_resolution_limit = 9", "invalid delay_logging_resolution_limit parameter value 9 > 6"},
		{"ipc_timeout = 5 parsecs", "parameter ipc_timeout: bad time value or unit: 5 parsecs"},
		{"mail_owner = no-such-user", "file FILE: parameter mail_owner: unknown user name value: no-such-user"},
		{"setgid_group = no-such-group", "file FILE: parameter setgid_group: unknown group name: no-such-group"},
		{"inet_interfaces = 192.0.2.1", "parameter inet_interfaces: no local interface found for 192.0.2.1"},
		{"maillog_file = /etc/nowhere", "maillog_file value '/etc/nowhere' does not match any prefix in maillog_file_prefixes"},
		{"myhostname = $undefined_name", "bad string length 0 < 1: myhostname = "},
		{"queue_directory = /nonexistent/queue", "chdir(/nonexistent/queue): No such file or directory"},
	} {
		t.Run(test.line, func(t *testing.T) {
			t.Parallel()
			s := prepare(t, plan{})
			n, undo := s.edit(t, "main.cf", test.line)
			want := "postfix: fatal: " + strings.NewReplacer("FILE", filepath.Join(s.Config(), "main.cf"), "N:", fmt.Sprintf("%d:", n)).Replace(test.want) + "\n"
			for _, command := range []string{"check", "start"} {
				text, code := status(t, s.Command("postfix", command))
				if code != 1 || !strings.HasSuffix(text, want) {
					t.Errorf("postfix %s: exit status %d,\n%swant 1,\n%s", command, code, text, want)
				}
			}
			if pid := s.masterPID(); pid != 0 {
				t.Errorf("master runs as %d", pid)
			}
			undo()
			must(t, s.Control("check"))
		})
	}
}

// TestBadMasterCF has lines in master.cf with which master does not start.
func TestBadMasterCF(t *testing.T) {
	port := freePort(t)
	for _, test := range []struct{ line, want string }{
		{"one", `missing "transport type" field`},
		{"one unix", `missing "private" field`},
		{"one foo - - n - - cleanup", "bad transport type: foo"},
		{"one unix x - n - - cleanup", `field "private": bad value: "x"`},
		{"one unix - - n - -", `missing "command" field`},
		{"one unix - - n - - -", `field "command" has no default value`},
		{"one unix - - n x - cleanup", `field "wakeup_time": bad value: "x"`},
		{"one unix - - n - many cleanup", `field "max_proc": bad value: "many"`},
		{fmt.Sprintf("127.0.0.1:%d inet - - n - - smtpd", port), "inet service cannot be private"},
		{"[127.0.0.1:25 inet n - n - - smtpd", `missing "]" in "[127.0.0.1:25"`},
		{"one unix - - n - - cleanup {a", `missing '}' in "{a"`},
		{"no-such-host.invalid:2525 inet n - n - - smtpd", "bad hostname or network address: no-such-host.invalid:2525"},
	} {
		t.Run(test.line, func(t *testing.T) {
			t.Parallel()
			s := prepare(t, plan{})
			n, _ := s.edit(t, "master.cf", test.line)
			text, code := status(t, s.Command("postfix", "start"))
			if code != 1 || !strings.Contains(text, "fatal: mail system startup failed\n") {
				t.Errorf("exit status %d, %q", code, text)
			}
			want := fmt.Sprintf("fatal: %s/master.cf: line %d: %s", s.Config(), n, test.want)
			if len(s.logLines(t, want)) != 1 {
				t.Errorf("no log record %s", want)
			}
			if pid := s.masterPID(); pid != 0 {
				t.Errorf("master runs as %d", pid)
			}
		})
	}
}

// TestBadService has services that cannot work: the others do, and when the
// fault is mended, so do they.
func TestBadService(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	s := start(t, plan{
		main: map[string]string{"service_throttle_time": "1s"},
		entries: []string{
			fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o smtpd_client_restrictions=permit_nonsense -o smtpd_timeout=never", port),
			"missing unix - - n - - no-such-program", "limited unix - - n - 5 cleanup",
		},
	})
	for _, service := range []string{"missing", "limited"} {
		c := connect(t, s, "private/"+service)
		c.Close()
	}
	s.awaitLog(t, `master_spawn: exec \S+/no-such-program: No such file or directory`)
	s.awaitLog(t, `master\[\d+\]: warning: \S+/no-such-program: bad command startup -- throttling`)
	s.awaitLog(t, `cleanup\[\d+\]: fatal: service limited requires a process limit of 0`)
	c := connectTCP(t, fmt.Sprintf("127.0.0.1:%d", port))
	c.Close()
	s.awaitLog(t, `smtpd\[\d+\]: fatal: parameter smtpd_timeout: bad time value or unit: never`)
	s.awaitLog(t, `master\[\d+\]: warning: \S+/smtpd: bad command startup -- throttling`)
	s.send(t, "x@client.test", "beside@"+virtualDomain, plain("x@client.test", "beside", "text"))
	s.awaitMail(t, "beside@"+virtualDomain)

	path := filepath.Join(s.Config(), "master.cf")
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(text), " -o smtpd_client_restrictions=permit_nonsense -o smtpd_timeout=never", "", 1)), 0o644))
	must(t, s.Control("reload"))
	r, err := connectTCP(t, fmt.Sprintf("127.0.0.1:%d", port)).Read()
	if err != nil || r.String() != "220 suffix.test ESMTP Postfix" {
		t.Errorf("greeting %q, %v", r, err)
	}
}

// TestUnknownSettings has mistakes of which the administrator is to hear, but
// which stop nothing.
func TestUnknownSettings(t *testing.T) {
	t.Parallel()
	s := prepare(t, plan{})
	_, undo := s.edit(t, "main.cf", "no_such_parameter = 1\nsoft_bounce = no\nsoft_bounce = yes")
	defer undo()
	text, code := status(t, s.Command("postfix", "check"))
	want := fmt.Sprintf("warning: %s/main.cf: unused parameter: no_such_parameter=1\n", s.Config())
	if code != 0 || !strings.Contains(text, want) {
		t.Errorf("postfix check: exit status %d, %q; want 0, %q", code, text, want)
	}
	want = "overriding earlier entry: soft_bounce=no\n"
	if !strings.Contains(text, want) {
		t.Errorf("postfix check: %q; want %q", text, want)
	}
	if out := s.command(t, "", "postconf", "-h", "soft_bounce"); out != "yes\n" {
		t.Errorf("postconf prints %q", out)
	}
}
