package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"suffix/pkg/showqclient"
)

// layout has the formats of the traditional listing, by the form of queue IDs.
type layout struct {
	header, row string
	indent      string
	titles      [4]any
}

var (
	shortLayout = layout{
		header: "%-11s %7s %-20s %s\n", row: "%-11s %7d %20.20s %s\n", indent: strings.Repeat(" ", 41),
		titles: [4]any{"-Queue ID-", "--Size--", "----Arrival Time----", "-Sender/Recipient-------"},
	}
	longLayout = layout{
		header: "%-17s %8s %-19s %s\n", row: "%-17s %8d %19.19s %s\n", indent: strings.Repeat(" ", 47),
		titles: [4]any{"----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------"},
	}
)

const (
	dateForm = "Mon Jan _2 15:04:05 2006 "
	// reasonWidth is the column at which a reason ends.
	reasonWidth = 76
)

// table is the listing for people: mailq.
type table struct {
	w *bufio.Writer
	layout
	messages int
	bytes    int64
	reason   string // shown last in this message
}

func newTable(w io.Writer, long bool) *table {
	t := &table{w: bufio.NewWriterSize(w, 16<<10), layout: shortLayout}
	if long {
		t.layout = longLayout
	}
	return t
}

// Message implements showqclient.Handler.
func (t *table) Message(m *showqclient.Message) error {
	if t.messages == 0 {
		fmt.Fprintf(t.w, t.header, t.titles[:]...)
	} else {
		t.w.WriteByte('\n')
	}
	t.messages++
	t.bytes += m.Size
	t.reason = ""
	id := m.ID
	switch m.Queue {
	case "active":
		id += "*"
	case "hold":
		id += "!"
	}
	if m.Forced {
		id += "#"
	}
	_, err := fmt.Fprintf(t.w, t.row, id, m.Size, time.Unix(m.Time, 0).Format(dateForm), m.Sender)
	return err
}

// Recipient implements showqclient.Handler.
func (t *table) Recipient(r *showqclient.Recipient) error {
	if r.Reason != t.reason {
		t.reason = r.Reason
		text := r.Reason
		if text == "" {
			text = "reason unavailable"
		}
		for range reasonWidth - len(text) {
			t.w.WriteByte(' ')
		}
		t.w.WriteString("(" + text + ")\n")
	}
	t.w.WriteString(t.indent)
	t.w.WriteString(r.Address)
	return t.w.WriteByte('\n')
}

// End implements showqclient.Handler.
func (t *table) End() error { return nil }

// Summary implements listing.
func (t *table) Summary() error {
	switch t.messages {
	case 0:
		t.w.WriteString("Mail queue is empty\n")
	case 1:
		fmt.Fprintf(t.w, "\n-- %d Kbytes in 1 Request.\n", t.bytes/1024)
	default:
		fmt.Fprintf(t.w, "\n-- %d Kbytes in %d Requests.\n", t.bytes/1024, t.messages)
	}
	return nil
}

// Flush implements listing.
func (t *table) Flush() error { return t.w.Flush() }
