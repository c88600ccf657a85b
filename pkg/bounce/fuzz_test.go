package bounce

import (
	"os"
	"testing"

	"suffix/pkg/bounceclient"
	"suffix/pkg/bouncelog"
	"suffix/pkg/config"
	"suffix/pkg/queue"
	"suffix/pkg/record"
)

// FuzzOriginal makes a notice of a queue file that has any bytes in it.
func FuzzOriginal(f *testing.F) {
	head := record.AppendSizes(nil, record.Sizes{})
	file := append(head, "T\x011S\x00R\x01rM\x00"...)
	sizes := record.Sizes{Segment: 13, Offset: int64(len(file)), Recipients: 1, Content: 13}
	file = append(file, "N\x0aSubject: xN\x00X\x00p\x010A\x10message_id=<1@x>E\x00"...)
	copy(file, record.AppendSizes(nil, sizes))
	f.Add(file)
	f.Add(append(record.AppendSizes(nil, record.Sizes{Segment: 1, Offset: 1}), "M\x00"...))
	f.Add([]byte("p\x00310M\x00"))
	f.Chdir(f.TempDir())
	if err := os.Mkdir("active", 0o700); err != nil {
		f.Fatal(err)
	}
	cfg := config.New(".", []config.Setting{{Name: "myhostname", Value: "mx.test"}}, config.Options{})
	tree := queue.New(cfg, nil)
	templates, err := LoadTemplates(cfg)
	if err != nil {
		f.Fatal(err)
	}
	server := &Server{cfg: cfg, tree: tree, queueName: "bounce", templates: templates}
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := os.WriteFile("active/ABC", file, 0o700); err != nil {
			t.Fatal(err)
		}
		o, err := openOriginal(tree, "active", "ABC")
		if err != nil {
			t.Fatal(err)
		}
		defer o.close()
		out := &sink{}
		c := &composer{Server: server, n: &bounceclient.Notice{QueueID: "ABC"}, o: o, out: out, boundary: "b",
			notice: notice{template: templates.Failure, entries: []bouncelog.Entry{{Recipient: "r@x", Status: "5.0.0"}}, full: true}}
		c.chooseEncoding()
		c.headers()
		c.explanation(nil)
		c.report()
		if err := c.message(); err != nil && c.o.dataOffset >= 0 {
			t.Errorf("a file that can be read: %v", err)
		}
	})
}
