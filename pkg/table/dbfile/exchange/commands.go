//go:build interop

package exchange

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// commands are what the two suites' programs must answer in the same way. T is
// the table type.
const commands = `postmap T:m
postmap -q B T:m
postmap -f -q B T:m
postmap -q - T:m < keys
postmap -s T:m
postmap -w T:m
postmap -q a T:m
postmap -r T:m
postmap -q a T:m
postmap -N T:m
postmap -q - T:m < keys
postmap -n T:m
postmap -q - T:m < keys
postmap -f T:m
postmap -q - T:m < keys
postmap -u T:m
postmap -q - T:m < keys
postmap -d a T:m
postmap -d x T:nonex
ls
printf 'n 1\nn 2\n' | postmap -i T:n
postmap -q n T:n
printf 'n 3\n' | postmap -r -i T:n; postmap -q x T:nonex2; cat n.T >/dev/null && postmap -q n T:n
postmap T:long
postmap -q a T:long
postmap -i T:longi < long
postmap -q a T:longi
postmap -q - T:m < longkey
postmap -d - T:m < longkey
postmap -q "" T:m
postmap -n -q "" T:m
postmap -d "" T:m
postalias T:al
postalias -q a T:al
postalias -f -q YP_MASTER_NAME T:al
postalias -q @ T:al
postalias -q "x y" T:al
printf 'new: x\n' | postalias -i T:al
postalias -q new T:al
: > z.T
postmap -q a T:z
postmap -s T:z
head -c 3000 /dev/zero > z.T
postmap -q a T:z
cp m z; postmap T:z
chmod 640 m; rm -f m.T; postmap T:m; stat -c %a m.T; rm -f m.T; postmap -p T:m; stat -c %a m.T
touch -d '3 hours ago' m.T; touch -d '2 hours ago' m; postmap -q a T:m
postmap -d a T:m
rm -f m.T; mkdir m.T; postmap T:m
postmap -q a T:m`

var commandFiles = map[string]string{
	"main.cf": "compatibility_level = 3.6\nmyhostname = h.example\nsuffix_dialect = 3.7\n",
	"m":       "a 1\nB two\n b cont\n#c\nc\n\"x y\"@d  q\na dup\nk: v\nßÄ uml\n",
	"al":      "a: b,c\n\"x y\": \"|z\"\na: dup\nu(c): d (e) f\n",
	"keys":    "a\nzz\nb\n\n\"x Y\"@d\nSSä\n\xff\n",
	"long":    "a b\n" + strings.Repeat("k", 600) + " v\nc d\n",
	"longkey": strings.Repeat("k", 600) + "\n" + strings.Repeat("k", 511) + "\n",
}

// Commands lets our postmap(1) and postalias(1) and Debian's do the same, side
// by side in directories of their own: they say the same and end with the same
// status.
func (k Kind) Commands(t *testing.T) {
	t.Parallel() // each error costs the programs a second of sleep
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "suffix/cmd/postmap", "suffix/cmd/postalias").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	ours := make(chan []string)
	go func() { ours <- k.answers(t, bin, t.TempDir()) }()
	theirs := k.answers(t, "/usr/sbin", t.TempDir())
	for i, our := range <-ours {
		if i < len(theirs) && our != theirs[i] {
			t.Errorf("ours   %s\ntheirs %s", our, theirs[i])
		}
	}
}

// answers tells what programs say to the commands.
func (k Kind) answers(t *testing.T, programs, dir string) (all []string) {
	old := time.Now().Add(-time.Hour)
	for name, text := range commandFiles {
		err := os.WriteFile(dir+"/"+name, []byte(text), 0o644)
		if err == nil {
			err = os.Chtimes(dir+"/"+name, old, old)
		}
		if err != nil {
			t.Error(err)
			return nil
		}
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(commands, "T:", k.Type+":"), "\n") {
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(line, ".T", k.Suffix))
		cmd.Dir = dir
		cmd.Env = []string{"MAIL_CONFIG=" + dir, "PATH=" + programs + ":/usr/bin:/bin"}
		var out, messages bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &messages
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Error(err)
			return nil
		}
		var said []string
		for message := range strings.Lines(messages.String()) {
			if !strings.Contains(message, "suffix_dialect") { // unknown to Postfix
				said = append(said, message)
			}
		}
		all = append(all, fmt.Sprintf("%s: %q, %q, status %d", line, &out, said, cmd.ProcessState.ExitCode()))
	}
	return all
}
