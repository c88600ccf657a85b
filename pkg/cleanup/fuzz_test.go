package cleanup

import (
	"bytes"
	"context"
	"os"
	"testing"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/record"
)

// Whatever a client sends, nothing panics, and a message that is accepted is a
// whole queue file.
func FuzzRecords(f *testing.F) {
	var good []byte
	for _, r := range recs(standard) {
		good = record.Append(good, record.Type(r[0]), string(bytes.TrimPrefix([]byte(r[1:]), []byte(" "))))
	}
	f.Add(good, 178)
	f.Add(bytes.Replace(good, []byte("M\x00"), []byte("A\x0enotify_flags=6f\x014M\x00"), 1), 243)
	f.Add([]byte("T\x031 2S\x00m\x010R\x01aM\x00L\x01 N\x00X\x00o\x02a;R\x01bE\x00"), 255)
	e := newEngine(f, "virtual_alias_maps = inline:{a@mx.test=b@mx.test}", "masquerade_domains = mx.test", "always_bcc = z")
	f.Fuzz(func(t *testing.T, data []byte, flags int) {
		m, err := e.Open(context.Background(), cleanupclient.Flags(flags)&^cleanupclient.Bounce)
		if err != nil {
			t.Fatal(err)
		}
		r := record.NewReader(bytes.NewReader(data), "input", 0)
		for {
			typ, data, err := r.Next()
			if err != nil {
				break
			}
			m.PutBytes(typ, data)
		}
		id := m.QueueID()
		status, _, _ := m.Finish()
		for _, name := range []string{"incoming/" + id, "hold/" + id} {
			file, err := os.Open(name)
			if err != nil {
				continue
			}
			if status != 0 {
				t.Errorf("file left after status %d", status)
			}
			checkFile(t, file)
			file.Close()
			os.Remove(name)
		}
	})
}

func checkFile(t *testing.T, f *os.File) {
	r := record.NewFileReader(f, f.Name())
	var sizes record.Sizes
	senders, recipients, ended := 0, 0, false
	for {
		typ, data, err := r.Next()
		if err != nil {
			break
		}
		switch typ {
		case record.Size:
			if sizes, _, err = record.ParseSizes(data); err != nil {
				t.Error(err)
			}
		case record.Sender:
			senders++
		case record.Recipient:
			recipients++
		case record.Extracted:
			if r.Offset() != sizes.Offset+sizes.Segment {
				t.Errorf("content ends at %d: %+v", r.Offset(), sizes)
			}
		case record.End:
			ended = true
		}
	}
	if senders != 1 || recipients != sizes.Recipients || !ended {
		t.Errorf("%d senders, %d recipients, end %v: %+v", senders, recipients, ended, sizes)
	}
}

func BenchmarkMessage(b *testing.B) {
	e := newEngine(b)
	line := []byte("The quick brown fox jumps over the lazy dog and runs away.")
	b.ReportAllocs()
	for b.Loop() {
		m, err := e.Open(context.Background(), 178)
		if err != nil {
			b.Fatal(err)
		}
		m.Put(record.Time, "1700000000 1")
		m.Put(record.Sender, "sender@a.test")
		m.Put(record.Recipient, "rcpt@b.test")
		m.Put(record.Content, "")
		m.Put(record.Text, "Received: by x")
		m.Put(record.Text, "Message-Id: <a@b>")
		m.Put(record.Text, "From: a@b")
		m.Put(record.Text, "Date: now")
		m.Put(record.Text, "")
		for range 100 {
			m.PutBytes(record.Text, line)
		}
		m.Put(record.Extracted, "")
		m.Put(record.End, "")
		id := m.QueueID()
		if status, _, _ := m.Finish(); status != 0 {
			b.Fatal(status)
		}
		os.Remove("incoming/" + id)
	}
}
