package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// How long one run takes, without the start of a process.
func BenchmarkRun(b *testing.B) {
	var large strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&large, "user_%d = $user_%d hash:/etc/table%d, reject_unauth_destination\n", i, i+1, i)
	}
	devnull, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, main string }{{"small", testMain}, {"large", large.String()}} {
		dir := setup(b, c.main, testMaster)
		for _, args := range [][]string{{"-h", "mydomain"}, {"-n"}, {"-M"}} {
			b.Run(c.name+strings.Join(args, ""), func(b *testing.B) {
				for b.Loop() {
					run(append([]string{"postconf", "-c", dir}, args...), devnull, devnull)
				}
			})
		}
	}
}
