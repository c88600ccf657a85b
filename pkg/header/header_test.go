package header

import "testing"

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		line        string
		name, colon int
		ok          bool
	}{
		{"Subject: x", 7, 7, true}, {"Subject \t: x", 7, 9, true}, {"Subject", 7, 7, false}, {": x", 0, 0, false},
		{" Subject: x", 0, 0, false}, {"S\x01: x", 1, 1, false}, {"Sé: x", 1, 1, false}, {"a b: c", 1, 2, false}, {"", 0, 0, false},
	} {
		name, colon, ok := Split(c.line)
		if ok != c.ok || ok && (name != c.name || colon != c.colon) {
			t.Errorf("Split(%q) = %d %d %v", c.line, name, colon, ok)
		}
	}
}

func TestLookup(t *testing.T) {
	for kind := Unknown + 1; kind < kinds; kind++ {
		if got := Lookup(infos[kind].Name); got == nil || got.Kind != kind {
			t.Errorf("%s: %v", infos[kind].Name, got)
		}
	}
	if Lookup("X-To") != nil || Lookup("disposition-notification-toX") != nil || Lookup("") != nil {
		t.Error("found an unknown header")
	}
	if info := Lookup([]byte("rESENT-tO")); info == nil || info.Class != Recipient|Extract|Resent {
		t.Errorf("got %v", info)
	}
}

func TestFold(t *testing.T) {
	in := "Cc: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com,\nbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@example.com,\ncccccccccccccccccccccc@example.com,\ndddd@mx.example.test"
	want := "Cc: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com,\n\tbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@example.com,\n\tcccccccccccccccccccccc@example.com, dddd@mx.example.test"
	if got := string(AppendFolded(nil, in)); got != want {
		t.Errorf("got %q", got)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("Subject : x"))
	f.Fuzz(func(t *testing.T, line []byte) {
		name, colon, ok := Split(line)
		if ok && (line[colon] != ':' || name > colon) {
			t.Errorf("Split(%q) = %d %d", line, name, colon)
		}
		Lookup(line[:name])
		Value(line)
	})
}
