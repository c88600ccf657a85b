package mime

import (
	"fmt"
	"strings"
	"testing"

	"suffix/pkg/header"
	"suffix/pkg/record"
)

// recorder writes down what a Parser says.
type recorder struct {
	out     []string
	content strings.Builder
}

func (r *recorder) Header(block Block, info *header.Info, text []byte) {
	known := ""
	if info != nil {
		known = "*"
	}
	r.out = append(r.out, fmt.Sprintf("H%d%s %s", block, known, text))
	r.content.WriteString(string(text) + "\n")
}
func (r *recorder) EndPrimary() { r.out = append(r.out, "end") }
func (r *recorder) Body(t record.Type, data []byte, offset int64) {
	r.out = append(r.out, fmt.Sprintf("B@%d %s", offset, data))
	r.content.Write(data)
	if t == record.Text {
		r.content.WriteByte('\n')
	}
}
func (r *recorder) Error(e Error, detail []byte) {
	r.out = append(r.out, fmt.Sprintf("E %s: %s", e.Error(), detail))
}

var standard = Options{MIME: true, HeaderLimit: 102400, BoundaryLimit: 2048, NestingLimit: 100, LineLimit: 2048}

func parse(opt Options, text string) *recorder {
	r := &recorder{}
	var p Parser
	p.Init(r, opt)
	lines := strings.SplitAfter(text, "\n")
	for _, line := range lines {
		switch {
		case strings.HasSuffix(line, "\n"):
			p.Text(record.Text, []byte(line[:len(line)-1]))
		case line != "":
			p.Text(record.Fragment, []byte(line))
		}
	}
	p.Finish()
	return r
}

func expect(t *testing.T, r *recorder, want ...string) {
	t.Helper()
	if got := strings.Join(r.out, "|"); got != strings.Join(want, "|") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(r.out, "\n"), strings.Join(want, "\n"))
	}
}

func TestHeaders(t *testing.T) {
	expect(t, parse(standard, "Subject \t: x\n y\nX-y:z\n\nbody\nmore\n"),
		"H0 Subject: x\n y", "H0 X-y:z", "end", "B@0 ", "B@1 body", "B@6 more")
	expect(t, parse(standard, "A: b\nno header\n"), "H0 A: b", "end", "B@0 ", "B@1 no header")
	expect(t, parse(standard, "A: b\n"), "H0 A: b", "end")
	expect(t, parse(standard, ""), "end")
	opt := standard
	opt.AddMIMEError, opt.Report = true, ErrEndOfHeader
	expect(t, parse(opt, "A: b\n x\nbody"), "H0 A: b\n x", "E primary header was terminated with non-empty line: body",
		"H0 MIME-Error: message header was not terminated by empty line", "end", "B@0 ", "B@1 body")
}

func TestHeaderLimit(t *testing.T) {
	opt := standard
	opt.HeaderLimit = 20
	expect(t, parse(opt, "A: 123456789\n\t2345678901\n\t3\n\nx\n"), "H0 A: 123456789\n\t234567", "end", "B@0 ", "B@1 x")
	expect(t, parse(opt, "A: 1234567890123456\n\t2345678901\n\n"), "H0 A: 1234567890123456", "end", "B@0 ")
}

func TestMultipart(t *testing.T) {
	r := parse(standard, "Content-Type: Multipart/mixed (c); x=y; BOUNDARY=\"a b\"\n\nprolog\n--a b\nContent-Type: message/rfc822\n\nSubject: s\n\nin\n--a b-- rest\nepilog\n--a b\nX: y\n")
	expect(t, r, "H0* Content-Type: Multipart/mixed (c); x=y; BOUNDARY=\"a b\"", "end", "B@0 ", "B@1 prolog", "B@8 --a b",
		"H1* Content-Type: message/rfc822", "B@0 ", "H2 Subject: s", "B@0 ", "B@1 in", "B@0 --a b-- rest", "B@13 epilog", "B@20 --a b", "B@26 X: y")
	r = parse(standard, "Content-Type: multipart/digest; boundary=q\n\n--q\n\nTo: x\n\nb\n--q\n")
	expect(t, r, "H0* Content-Type: multipart/digest; boundary=q", "end", "B@0 ", "B@1 --q", "B@0 ", "H2* To: x", "B@0 ", "B@1 b", "B@3 --q")
}

func TestDisabled(t *testing.T) {
	opt := standard
	opt.MIME = false
	expect(t, parse(opt, "Content-Type: message/rfc822\n\nTo: x\n\n"), "H0* Content-Type: message/rfc822", "end", "B@0 ", "B@1 To: x", "B@7 ")
}

func TestErrors(t *testing.T) {
	opt := standard
	opt.Report = ErrNesting | Err8BitHeader | Err8BitBody | ErrDomain
	opt.NestingLimit = 0
	var b strings.Builder
	for i := range 3 {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	r := parse(opt, b.String())
	if got := r.out[len(r.out)-4]; got != "E MIME nesting exceeds safety limit: Content-Type: multipart/mixed; boundary=b2" {
		t.Errorf("got %q", r.out)
	}
	r = parse(opt, "Subject: é\nContent-Transfer-Encoding: base64\nContent-Type: message/rfc822\n\nX: y\n\né\n")
	expect(t, r, "E improper use of 8-bit data in message header: Subject: é", "H0 Subject: é", "H0* Content-Transfer-Encoding: base64", "H0* Content-Type: message/rfc822",
		"end", "E invalid message/* or multipart/* encoding domain: base64", "B@0 ", "H2 X: y", "B@0 ", "E improper use of 8-bit data in message body: é", "B@1 é")
	if e := Err8BitBody | ErrNesting; e.Error() != "MIME nesting exceeds safety limit" {
		t.Error(e)
	}
}

func TestConvert(t *testing.T) {
	opt := standard
	opt.Downgrade = true
	r := parse(opt, "Content-Transfer-Encoding: 8bit\nSubject: x\n\né=\tx \n"+strings.Repeat("a", 80)+"\nlast")
	expect(t, r, "H0 Subject: x", "H0 Content-Transfer-Encoding: quoted-printable", "end", "B@0 ", "B@1 =C3=A9=3D\tx=20",
		"B@16 "+strings.Repeat("a", 73)+"=", "B@91 aaaaaaa", "B@99 last")
}

func FuzzParser(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=\"a\"\n\n--a\nContent-Type: message/rfc822\n\nA: b\n\n--a--\n", uint8(3))
	f.Add("A: b\nxyz\n", uint8(0))
	f.Fuzz(func(t *testing.T, text string, flags uint8) {
		opt := standard
		opt.Report = Error(flags)
		opt.Downgrade = flags&64 != 0
		opt.HeaderLimit, opt.NestingLimit = 200, 5
		r := parse(opt, text)
		ends := 0
		for _, line := range r.out {
			if line == "end" {
				ends++
			}
		}
		if ends != 1 {
			t.Errorf("%d ends of the primary header", ends)
		}
		// Without header limit and conversion nothing is lost.
		opt.Downgrade, opt.HeaderLimit = false, 1<<20
		r = parse(opt, text)
		squeeze := strings.NewReplacer("\n", "", " ", "", "\t", "")
		if got, want := squeeze.Replace(r.content.String()), squeeze.Replace(text); got != want {
			t.Errorf("content changed: %q became %q", want, got)
		}
	})
}
