package bdb

import (
	"fmt"
	"testing"

	"suffix/pkg/table"
)

// BenchmarkLookup looks up random keys in a large table, with the locks that
// every reader takes.
func BenchmarkLookup(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			const n = 300000
			spec := kind + ":" + b.TempDir() + "/x"
			m := make(map[string]string, n)
			keys := make([]string, n)
			for i := range keys {
				keys[i] = fmt.Sprintf("user%d@domain%d.example.com", i*7919%n, i%1000)
				m[keys[i]] = "some value"
			}
			build(b, spec, m, 0)
			h := table.Open(spec, table.Options{Flags: table.Reader, Command: true})
			if h.Err() != nil {
				b.Fatal(h.Err())
			}
			defer h.Close()
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				if _, found, err := h.Lookup(keys[i*31%n]); !found || err != nil {
					b.Fatal(found, err)
				}
			}
		})
	}
}
