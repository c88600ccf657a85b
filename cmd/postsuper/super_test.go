package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/queue"
)

var severities = map[maillog.Level]string{maillog.Info: "", maillog.Warning: "warning: ", maillog.Error: "error: ", maillog.Fatal: "fatal: "}

// world is a queue directory where files are known by labels.
type world struct {
	t   *testing.T
	s   *super
	ids map[string]string // label to queue ID
	log []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Chdir(t.TempDir())
	w := &world{t: t, ids: map[string]string{}}
	w.s = &super{tree: &queue.Tree{Hashed: []string{"deferred", "defer"}, Depth: 1}}
	w.s.log = func(level maillog.Level, format string, args ...any) {
		line := severities[level] + fmt.Sprintf(format, args...)
		for label, id := range w.ids {
			line = strings.ReplaceAll(line, id, "<"+label+">")
		}
		w.log = append(w.log, line)
	}
	for _, name := range append(append([]string{"flush", "corrupt"}, messageQueues...), logQueues...) {
		w.check(os.Mkdir(name, 0700))
	}
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

var longAgo = time.Unix(1795359000, 0)

// file makes a file whose content is its path without ID.
func (w *world) file(path string, mode os.FileMode, mtime time.Time) {
	w.t.Helper()
	w.check(os.MkdirAll(filepath.Dir(path), 0700))
	w.check(os.WriteFile(path, []byte("x"), 0600))
	w.check(os.Chmod(path, mode))
	w.check(os.Chtimes(path, mtime, mtime))
}

// message makes a message file whose ID differs by offset from its inode.
func (w *world) message(label, dir string, mode os.FileMode, long bool, offset uint64) {
	w.t.Helper()
	w.file("temporary", mode, time.Now())
	var st syscall.Stat_t
	w.check(syscall.Stat("temporary", &st))
	usec := 0x10000 + len(w.ids)*0x1111
	id := queue.MakeID(time.Unix(1795359400, int64(usec)*1000), st.Ino+offset, long)
	w.ids[label] = id
	w.check(os.MkdirAll(dir, 0700))
	w.check(os.Rename("temporary", dir+"/"+id))
}

// files lists all files and the directories below the queues.
func (w *world) files() []string {
	w.t.Helper()
	var list []string
	w.check(filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.Contains(path, "/") {
			return err
		}
		st, err := os.Lstat(path)
		if err != nil {
			return err
		}
		name := path
		inode := st.Sys().(*syscall.Stat_t).Ino
		for label, id := range w.ids {
			name = strings.ReplaceAll(name, id, "<"+label+">")
			for _, long := range []bool{false, true} {
				if got, ok := queue.Inode(id); ok && (got != inode || long != queue.IsLong(id)) && !d.IsDir() {
					name = strings.ReplaceAll(name, queue.WithInode(id, inode, long), "<"+label+"!>")
				}
			}
		}
		if d.IsDir() {
			list = append(list, name+"/")
		} else {
			list = append(list, fmt.Sprintf("%s %o", name, st.Mode().Perm()))
		}
		return nil
	}))
	return list
}

// run executes a command line where <label> stands for an ID.
func (w *world) run(stdin string, args ...string) error {
	w.t.Helper()
	replace := func(s string) string {
		for label, id := range w.ids {
			s = strings.ReplaceAll(s, "<"+label+">", id)
		}
		return s
	}
	for i := range args {
		args[i] = replace(args[i])
	}
	c, err := parse(args)
	if err != nil {
		return err
	}
	return w.s.execute(c, strings.NewReader(replace(stdin)))
}

func (w *world) expect(what string, got, want []string) {
	w.t.Helper()
	slices.Sort(want)
	sorted := slices.Sorted(slices.Values(got))
	if !slices.Equal(sorted, want) {
		w.t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(sorted, "\n"), strings.Join(want, "\n"))
	}
}

// mailbox has one message of each kind.
func mailbox(t *testing.T) *world {
	w := newWorld(t)
	w.message("in", "incoming", 0700, false, 0)
	w.message("act", "active", 0700, false, 0)
	w.message("dfr", "deferred/1", 0700, false, 0)
	w.message("hld", "hold", 0700, false, 0)
	w.message("mdr", "maildrop", 0744, false, 0)
	w.message("emb", "incoming", 0600, false, 0)
	w.message("exp", "active", 0710, false, 0)
	w.file("defer/1/"+w.ids["dfr"], 0600, longAgo)
	w.file("bounce/"+w.ids["dfr"], 0600, longAgo)
	w.file("trace/"+w.ids["dfr"], 0600, longAgo)
	w.file("flush/site_x", 0600, longAgo)
	return w
}

var everything = []string{"incoming/<in> 700", "active/<act> 700", "deferred/1/", "deferred/1/<dfr> 700", "hold/<hld> 700", "maildrop/<mdr> 744",
	"incoming/<emb> 600", "active/<exp> 710", "defer/1/", "defer/1/<dfr> 600", "bounce/<dfr> 600", "trace/<dfr> 600", "flush/site_x 600"}

func TestActions(t *testing.T) {
	for _, c := range []struct {
		args, stdin string
		log         string
		changes     string // -old and +new, separated by comma and blank
	}{
		{"-d <dfr> -d <emb> -d <mdr> -d nosuch1", "", "<dfr>: removed; <mdr>: removed; Deleted: 2 messages",
			"-deferred/1/<dfr> 700, -defer/1/<dfr> 600, -bounce/<dfr> 600, -trace/<dfr> 600, -maildrop/<mdr> 744"},
		{"-r <dfr> -r <mdr> -r <hld>", "", "<dfr>: requeued; <hld>: requeued; Requeued: 2 messages",
			"-deferred/1/<dfr> 700, +maildrop/<dfr> 700, -hold/<hld> 700, +maildrop/<hld> 700"},
		{"-h <in> -h <hld> -h <act> -h <mdr> -h <emb>", "", "<in>: placed on hold; <act>: placed on hold; Placed on hold: 2 messages",
			"-incoming/<in> 700, +hold/<in> 700, -active/<act> 700, +hold/<act> 700"},
		{"-H <hld> -H <in>", "", "<hld>: released from hold; Released from hold: 1 message", "-hold/<hld> 700, +deferred/1/<hld> 700"},
		{"-e <in> -e <exp> -e <mdr> -e <hld>", "", "<in>: expired; <hld>: expired; Force-expired: 2 messages",
			"-incoming/<in> 700, +incoming/<in> 710, -hold/<hld> 700, +hold/<hld> 710"},
		{"-f <hld> -f <in> -f <exp>", "", "<hld>: expired; <hld>: released from hold; <in>: expired; Force-expired: 2 messages; Released from hold: 1 message",
			"-hold/<hld> 700, +deferred/1/<hld> 710, -incoming/<in> 700, +incoming/<in> 710"},
		{"-d -", "<in>\nbad.id\n\n <act>\n<hld>", "<in>: removed; warning: invalid mail queue id: bad.id; warning: invalid mail queue id: ; " +
			"warning: invalid mail queue id:  <act>; <hld>: removed; Deleted: 2 messages", "-incoming/<in> 700, -hold/<hld> 700"},
		{"-d all", "", "Deleted: 0 messages", ""},
		{"-d a.b", "", "warning: invalid mail queue id: a.b; Deleted: 0 messages", ""},
		{"-d <in> deferred", "", "Deleted: 0 messages", ""},
		{"-d <in> -h <act> -e <exp>", "", "<in>: removed; <act>: placed on hold; Deleted: 1 message; Force-expired: 0 messages; Placed on hold: 1 message",
			"-incoming/<in> 700, -active/<act> 700, +hold/<act> 700"},
		{"-r ALL", "", "Requeued: 6 messages", "-incoming/<in> 700, +maildrop/<in> 700, -active/<act> 700, +maildrop/<act> 700, -deferred/1/<dfr> 700, +maildrop/<dfr> 700, " +
			"-hold/<hld> 700, +maildrop/<hld> 700, -incoming/<emb> 600, +maildrop/<emb> 600, -active/<exp> 710, +maildrop/<exp> 710"},
		{"-h ALL deferred hold", "", "Placed on hold: 1 message", "-deferred/1/<dfr> 700, +hold/<dfr> 700"},
		{"-H ALL", "", "Released from hold: 1 message", "-hold/<hld> 700, +deferred/1/<hld> 700"},
		{"-e ALL", "", "Force-expired: 4 messages", "-incoming/<in> 700, +incoming/<in> 710, -active/<act> 700, +active/<act> 710, -hold/<hld> 700, +hold/<hld> 710, " +
			"-deferred/1/<dfr> 700, +deferred/1/<dfr> 710"},
		{"-f ALL hold", "", "Force-expired: 1 message; Released from hold: 1 message", "-hold/<hld> 700, +deferred/1/<hld> 710"},
		{"-d ALL deferred bounce", "", "Deleted: 1 message", "-deferred/1/<dfr> 700, -bounce/<dfr> 600"},
		{"", "", "", ""},
		{"-S", "", "", ""},
		{"-s -d <in>", "", "<in>: removed; Deleted: 1 message", "-incoming/<in> 700"},
	} {
		w := mailbox(t)
		if err := w.run(c.stdin, strings.Split(strings.ReplaceAll(c.args, " ", "\x00"), "\x00")[boolInt(c.args == ""):]...); err != nil {
			t.Errorf("postsuper %s: %v", c.args, err)
		}
		if got := strings.Join(w.log, "; "); got != c.log {
			t.Errorf("postsuper %s: log\n%s\nwant\n%s", c.args, got, c.log)
		}
		want := slices.Clone(everything)
		for _, change := range strings.Split(c.changes, ", ") {
			if old, ok := strings.CutPrefix(change, "-"); ok {
				want = slices.DeleteFunc(want, func(s string) bool { return s == old })
			} else if change != "" {
				want = append(want, change[1:])
			}
		}
		w.expect("postsuper "+c.args, w.files(), want)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestDeleteAll(t *testing.T) {
	w := mailbox(t)
	w.check(os.Symlink("x", "active/link"))
	w.file("active/bad.name", 0700, longAgo)
	if err := w.run("", "-d", "ALL"); err != nil {
		t.Fatal(err)
	}
	w.expect("log", w.log, []string{"Deleted: 7 messages"})
	w.expect("files", w.files(), []string{"deferred/1/", "defer/1/", "trace/<dfr> 600"})
}

// oddities is a queue that needs repair.
func oddities(t *testing.T) *world {
	w := newWorld(t)
	old := time.Now().Add(-8 * 24 * time.Hour)
	w.message("good", "incoming", 0700, false, 0)
	w.message("badino", "deferred/1", 0700, false, 77)
	for _, path := range []string{"defer/1/", "bounce/", "trace/"} {
		w.file(path+w.ids["badino"], 0600, longAgo)
	}
	w.message("badmd", "maildrop", 0744, false, 77)
	w.message("wrong", "deferred", 0700, false, 0)
	w.message("deep", "active/1", 0700, false, 0)
	w.message("long", "incoming", 0700, true, 0)
	w.message("badlong", "hold", 0700, true, 77)
	w.message("fixed", "active", 0700, false, 0)
	w.check(os.Rename("active/"+w.ids["fixed"], "active/"+w.ids["fixed"]+"#FIX"))
	w.message("emb", "incoming", 0600, false, 0)
	w.check(os.Chtimes("incoming/"+w.ids["emb"], old, old))
	w.file("incoming/1234.567", 0600, time.Now())
	w.file("maildrop/1234.568", 0600, old)
	w.file("active/ABCDE", 0700, old)
	w.file("active/ABCDEX1", 0700, old)
	w.file("active/XY!#FIX", 0700, old)
	w.file("hold/ABCDE1#FIX", 0700, old)
	w.file("bounce/1/zzz", 0600, old)
	w.file("defer/bad.name", 0600, old)
	w.check(os.Mkdir("active/Z", 0700))
	w.check(os.Mkdir("active/subdir", 0700))
	w.check(os.MkdirAll("incoming/full/x", 0700))
	w.check(syscall.Mkfifo("hold/ABCDE13", 0600))
	return w
}

var oddNames = []string{"defer/bad.name", "active/ABCDE", "active/ABCDEX1", "active/XY!#FIX", "incoming/1234.567"}

func TestRepair(t *testing.T) {
	left := []string{"incoming/<good> 700", "deferred/1/", "deferred/1/<badino!> 700", "defer/1/", "trace/<badino!>#FIX 600", "maildrop/<badmd!> 744",
		"deferred/1/<wrong> 700", "active/<deep> 700", "active/<fixed> 700", "incoming/1234.567 600", "active/ABCDE 700",
		"active/ABCDEX1 700", "active/XY!#FIX 700", "hold/ABCDE1#FIX 700", "bounce/zzz 600", "defer/bad.name 600", "incoming/full/", "incoming/full/x/"}
	for _, c := range []struct {
		args    string
		long    bool
		renamed int
		files   []string
	}{
		{"", false, 5, []string{"incoming/<long!> 700", "hold/<badlong!> 700"}},
		{"-s", true, 3, []string{"incoming/<long> 700", "hold/<badlong> 700", "incoming/<emb> 600", "maildrop/1234.568 600"}},
		{"-S", true, 4, []string{"incoming/<long> 700", "hold/<badlong!> 700", "incoming/<emb> 600", "maildrop/1234.568 600"}},
	} {
		w := oddities(t)
		w.s.tree.LongIDs = c.long
		if err := w.run("", strings.Fields(c.args)...); err != nil {
			t.Fatalf("postsuper %s: %v", c.args, err)
		}
		// The logs of a message have the new ID of that, not their own.
		logID := regexp.MustCompile(`^(defer/1|bounce|trace)/(17777|11111)[0-9A-F]+`)
		var files []string
		for _, f := range w.files() {
			files = append(files, logID.ReplaceAllString(f, "$1/<badino!>"))
		}
		w.expect("postsuper "+c.args, files, append(append(slices.Clone(left), c.files...), "defer/1/<badino!> 600", "bounce/<badino!> 600"))
		warnings := []string{fmt.Sprintf("Renamed to match inode number: %d messages", c.renamed), "warning: QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS"}
		for range 2 { // passes
			for _, name := range oddNames {
				warnings = append(warnings, "warning: bogus file name: "+name)
			}
			warnings = append(warnings, "warning: name/inode mismatch: hold/ABCDE1#FIX", "warning: remove subdirectory incoming/full: Directory not empty")
			if c.args != "" {
				warnings = append(warnings, "warning: bogus file name: maildrop/1234.568")
			}
		}
		w.expect("postsuper "+c.args+" log", w.log, warnings)
		w.log = nil
		w.s.renamed = 0
		w.s.marked.Store(0)
		if err := w.run("", strings.Fields(c.args)...); err != nil || w.s.renamed != 0 {
			t.Errorf("postsuper %s again: %v, renamed %d", c.args, err, w.s.renamed)
		}
	}
}

// A name that another file has is not taken away from it.
func TestRepairKeepsBoth(t *testing.T) {
	w := newWorld(t)
	w.message("a", "active", 0700, false, 0)
	id := w.ids["a"]
	w.check(os.Rename("active/"+id, "active/"+id+"#FIX"))
	w.file("bounce/"+id, 0600, longAgo)
	w.file("bounce/"+id+"#FIX", 0600, longAgo)
	if err := w.run("", "-s", "bounce"); err != nil {
		t.Fatal(err)
	}
	w.expect("log", w.log, []string{"warning: rename file bounce/<a>#FIX as bounce/<a>: File exists"})
	w.expect("files", w.files(), []string{"active/<a>#FIX 700", "bounce/<a> 600", "bounce/<a>#FIX 600"})
}

func TestRenamedThenIDs(t *testing.T) {
	w := newWorld(t)
	w.message("a", "active", 0700, false, 1)
	err := w.run("", "-s", "-d", "<a>")
	if err == nil || err.Error() != "CHECK YOUR QUEUE IDS AND RE-ISSUE THE COMMAND" {
		t.Errorf("got %v", err)
	}
	w.s.warnIncomplete()
	w.expect("log", w.log, []string{"error: QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS",
		"warning: OPERATION INCOMPLETE -- RERUN COMMAND TO FIX THE QUEUE FIRST"})
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-z", usage}, {"-d", usage}, {"-c relative", "-c requires absolute pathname"},
		{"bogus", "invalid directory name: bogus"}, {"corrupt", "invalid directory name: corrupt"}, {"deferred -s", "invalid directory name: -s"},
		{"-d A1 bogus", "invalid directory name: bogus"}, {"-p bounce", "remove directory bounce/1: Directory not empty"},
	} {
		w := newWorld(t)
		w.file("bounce/1/zzz", 0600, longAgo)
		if err := w.run("", strings.Fields(c.args)...); err == nil || err.Error() != c.want {
			t.Errorf("postsuper %s: got %v, want %s", c.args, err, c.want)
		}
	}
}

func TestExpireLinked(t *testing.T) {
	w := newWorld(t)
	w.message("a", "active", 0700, false, 0)
	w.check(os.Link("active/"+w.ids["a"], "corrupt/x"))
	if err := w.run("", "-e", "<a>"); err != nil {
		t.Fatal(err)
	}
	w.expect("log", w.log, []string{"warning: expire file active/<a>: file has 2 hard links", "warning: expire file active/<a>: file has 2 hard links", "Force-expired: 0 messages"})
}
