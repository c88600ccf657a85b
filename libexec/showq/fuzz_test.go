package showq

import (
	"bytes"
	"context"
	"os"
	"testing"

	"suffix/pkg/attr"
	"suffix/pkg/queue"
	"suffix/pkg/record"
)

// FuzzFile lists a queue with a message and a log that have any bytes in them.
func FuzzFile(f *testing.F) {
	f.Add(append(record.AppendSizes(nil, record.Sizes{Segment: 2, Offset: 103}), "T\x013S\x01sR\x01rM\x00N\x00X\x00E\x00"...), []byte(deferLog))
	f.Add([]byte("S\x01sS\x01tp\x011"), []byte("\nrecipient=x"))
	f.Add([]byte("R\x01rO\x01o\x00\x00"), []byte("="))
	f.Chdir(f.TempDir())
	for _, name := range append([]string{"defer", "bounce"}, queues...) {
		if err := os.Mkdir(name, 0700); err != nil {
			f.Fatal(err)
		}
	}
	l := &lister{tree: &queue.Tree{}, nobody: "MAILER-DAEMON", limit: 1000}
	f.Fuzz(func(t *testing.T, file, log []byte) {
		for path, content := range map[string][]byte{"active/ABC": file, "defer/ABC": log} {
			if err := os.WriteFile(path, content, 0700); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		if err := l.list(context.Background(), attr.NewWriter(&out, attr.Null)); err != nil {
			t.Error(err)
		}
	})
}
