//go:build interop

package cdb

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile/exchange"
)

var kind = exchange.Kind{Type: "cdb", Suffix: suffix, MaxKey: 100000}

func TestFilesOfDebian(t *testing.T)    { kind.Files(t) }
func TestMillionOfDebian(t *testing.T)  { kind.Million(t) }
func TestLiveWithDebian(t *testing.T)   { kind.Live(t) }
func TestCommandsOfDebian(t *testing.T) { kind.Commands(t) }

// Our files are those of Debian's postmap, byte for byte, also where keys come
// twice.
func TestSameBytes(t *testing.T) {
	all := entries(1500, 9)
	for i := range 60 {
		all = append(all, entry{all[i*7].key, fmt.Sprint("again", i)}, entry{all[i*3].key, fmt.Sprint("third", i)})
	}
	for option, flags := range map[string]table.Flags{"-w": table.IgnoreDup, "-r": table.ReplaceDup, "-N": table.IgnoreDup | table.Try1Null} {
		dir := exchange.Dir(t)
		var text bytes.Buffer
		for _, e := range all {
			fmt.Fprintf(&text, "%s %s\n", e.key, e.value)
		}
		if err := os.WriteFile(dir+"/x", text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{option, "cdb:" + dir + "/x"}
		if option == "-N" {
			args = append([]string{"-w"}, args...)
		}
		exchange.Postmap(t, dir, nil, args...)
		build(t, dir+"/y", all, flags)
		theirs, err := os.ReadFile(dir + "/x" + suffix)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := os.ReadFile(dir + "/y" + suffix)
		if err != nil {
			t.Fatal(err)
		}
		// What libcdb has removed may be left at the end of its file.
		if !bytes.HasPrefix(theirs, ours) || option != "-r" && len(theirs) != len(ours) {
			t.Errorf("%s: our file differs from theirs", option)
		}
	}
}
