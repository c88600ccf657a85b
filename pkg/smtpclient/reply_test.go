package smtpclient

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func readReplies(input string, limit int) (replies []reply, notes []string, err error) {
	p := replyReader{r: bufio.NewReaderSize(strings.NewReader(input), 64), limit: limit, utf8: true,
		longLine: func(text string) { notes = append(notes, "line "+text) },
		longText: func(text string) { notes = append(notes, "text "+text) },
		garbage:  func(text string) { notes = append(notes, "garbage "+text) },
	}
	for {
		var r reply
		if err := p.read(&r); err != nil {
			return replies, notes, err
		}
		replies = append(replies, r)
	}
}

func TestReplies(t *testing.T) {
	tests := []struct {
		input string
		want  reply
		notes string
	}{
		{"250 2.1.0 Ok\r\n", reply{250, "2.1.0", "250 2.1.0 Ok"}, ""},
		{"250\r\n", reply{250, "2.0.0", "250"}, ""},
		{"550\n", reply{550, "5.0.0", "550"}, ""},
		{"250-5.1.1 a\r\n250 b\r\n", reply{250, "2.0.0", "250-5.1.1 a\n250 b"}, ""},
		{"450 5.1.1 wrong class\r\n", reply{450, "4.0.0", "450 5.1.1 wrong class"}, ""},
		{"354 go\r\n", reply{354, "5.5.0", "354 go"}, ""},
		{"99 x\r\n\r\n550 5.1.1 y\r\n", reply{550, "5.1.1", "99 x\n\n550 5.1.1 y"}, "garbage 99 x|garbage "},
		{"250x\r\n250 z\r\n", reply{250, "2.0.0", "250x\n250 z"}, "garbage 250x"},
		{"250 caf\xc3\xa9 \xff\x00\r\n", reply{250, "2.0.0", "250 caf\u00e9 ??"}, ""},
		{"250-" + strings.Repeat("a", 190) + "\r\n250 b\r\n", reply{250, "2.0.0", "250-" + strings.Repeat("a", 96)},
			"line 250-" + strings.Repeat("a", 26) + "|text 250 b"},
	}
	for _, test := range tests {
		got, notes, err := readReplies(test.input, 100)
		if err != io.EOF || len(got) != 1 || got[0] != test.want || strings.Join(notes, "|") != test.notes {
			t.Errorf("%q: got %+v %q (%v)\nwant %+v %q", test.input, got, notes, err, test.want, test.notes)
		}
	}
	// The status of a reply comes from its own line only.
	got, _, _ := readReplies("550 5.1.1 unknown\r\n550\r\n", 100)
	if len(got) != 2 || got[1].status != "5.0.0" {
		t.Errorf("got %+v", got)
	}
	if _, _, err := readReplies(strings.Repeat("x", 10000), 100); !errors.Is(err, errTooMuch) {
		t.Errorf("endless line: %v", err)
	}
	for _, length := range []int{200, 201} { // with the line end: twice the limit, and more
		got, _, err := readReplies("250 "+strings.Repeat("x", length-5)+"\n", 100)
		if ok := length == 200; (len(got) == 1) != ok || errors.Is(err, errTooMuch) == ok {
			t.Errorf("line of %d bytes: %d replies, %v", length, len(got), err)
		}
	}
	if _, _, err := readReplies(strings.Repeat("250-x\r\n", 1001), 100); !errors.Is(err, errTooMuch) {
		t.Errorf("endless reply: %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add("250 ok\r\n550-a\r\n550 5.1.1 b\r\n")
	f.Add("junk\n250")
	f.Fuzz(func(t *testing.T, input string) {
		const limit = 50
		replies, _, err := readReplies(input, limit)
		if err == nil {
			t.Fatal("no error at the end of the input")
		}
		for _, r := range replies {
			if len(r.text) > limit {
				t.Fatalf("%d bytes of text kept", len(r.text))
			}
			if r.code < 0 || r.code > 999 {
				t.Fatalf("code %d", r.code)
			}
			for _, c := range r.text {
				if c < 32 && c != '\n' || c == 127 {
					t.Fatalf("control character in %q", r.text)
				}
			}
			if !utf8.ValidString(r.text) && len(r.text) < limit-4 {
				t.Fatalf("invalid text %q", r.text)
			}
			if class := r.code / 100; class == 2 || class == 4 || class == 5 {
				if int(r.status[0]-'0') != class {
					t.Fatalf("code %d, status %s", r.code, r.status)
				}
			} else if r.status != "5.5.0" {
				t.Fatalf("code %d, status %s", r.code, r.status)
			}
		}
	})
}
