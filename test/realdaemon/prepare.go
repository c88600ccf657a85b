package realdaemon

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
)

// Prepare makes the directories and the main.cf of an instance for one daemon of
// which there is only one process; settings are further lines of main.cf. With
// the options, and with root's rights, the daemon becomes a user without rights
// and changes its root directory.
func Prepare(t *testing.T, settings string) (config, queue, data string, options []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "daemon-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	options = []string{"-l"}
	if os.Getuid() == 0 {
		if me, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
		options = append(options, "-u", "-c")
	}
	uid, err := strconv.Atoi(me.Uid)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "etc", "queue", "data", "queue/private", "queue/public", "queue/pid"} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == "data" {
			if err := os.Chown(name, uid, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	config, queue, data = dir+"/etc", dir+"/queue", dir+"/data"
	text := "compatibility_level = 3.11\nmyhostname = mx.test\nmail_owner = " + me.Username +
		"\nqueue_directory = " + queue + "\ndata_directory = " + data + "\nsetgid_group = mail\ndefault_privs = daemon\nmaillog_file = /var/log/none\n" + settings
	if err := os.WriteFile(config+"/main.cf", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config+"/master.cf", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return config, queue, data, options
}
