package posix

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// testdata/glibc.txt has patterns, flags, and what the C library of Linux
// makes of them: the error text, the number of groups, and the place of the
// match in some texts.
func TestAgainstLibrary(t *testing.T) {
	f, err := os.Open("testdata/glibc.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unquote := func(s string) string {
		u, err := strconv.Unquote(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return u
	}
	lines := 0
	for in := bufio.NewScanner(f); in.Scan(); lines++ {
		field := strings.Split(in.Text(), "\t")
		pattern, wantErr := unquote(field[0]), unquote(field[2])
		bits, _ := strconv.Atoi(field[1])
		flags := Flags(0)
		if bits&1 == 0 {
			flags |= Basic
		}
		if bits&2 != 0 {
			flags |= FoldCase
		}
		if bits&4 != 0 {
			flags |= Newline
		}
		r, err := Compile(pattern, flags)
		if gotErr := fmt.Sprint(err); gotErr != wantErr && (err != nil || wantErr != "") {
			t.Errorf("%q, flags %d: error %q, want %q", pattern, bits, gotErr, wantErr)
			continue
		}
		if err != nil {
			continue
		}
		if got := strconv.Itoa(r.Groups()); got != field[3] {
			t.Errorf("%q: %s groups, want %s", pattern, got, field[3])
		}
		for i := 4; i+1 < len(field); i += 2 {
			text, got := unquote(field[i]), "-"
			loc, err := r.Match(text)
			if err != nil {
				t.Errorf("%q on %q: %v", pattern, text, err)
			}
			if loc != nil {
				got = fmt.Sprintf("%d,%d", loc[0], loc[1])
			}
			if got != field[i+1] {
				t.Errorf("%q, flags %d, on %q: match %s, want %s", pattern, bits, text, got, field[i+1])
			}
			if matched, err := r.Matches(text); err != nil || matched != (loc != nil) {
				t.Errorf("%q on %q: Matches %v, %v", pattern, text, matched, err)
			}
		}
	}
	if lines < 300 {
		t.Errorf("only %d lines", lines)
	}
}

// The groups of a match in bytes, also behind bytes that are no ASCII.
func TestGroups(t *testing.T) {
	r, err := Compile("(é+)(x)?(.)", 0)
	if err != nil {
		t.Fatal(err)
	}
	loc, err := r.Match("aéé")
	if err != nil || fmt.Sprint(loc) != "[1 4 1 3 -1 -1 3 4]" {
		t.Errorf("%v, %v", loc, err)
	}
}

func TestStepLimit(t *testing.T) {
	r, err := Compile(`(a*)*(a*)*(a*)*\1b`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Match(strings.Repeat("a", 60)); !errors.Is(err, ErrLimit) {
		t.Errorf("error %v", err)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"a(b|c)*", `\(a\)\1`, "[[:alpha:]-z]", "x{1,2}{3}", "^*$"} {
		f.Add(s, "abc", uint(0))
	}
	f.Fuzz(func(t *testing.T, pattern, text string, flags uint) {
		if len(pattern) > 60 || len(text) > 60 {
			return
		}
		r, err := Compile(pattern, Flags(flags&7))
		if err != nil {
			return
		}
		loc, err := r.Match(text)
		if err == nil && loc != nil && (loc[0] < 0 || loc[1] < loc[0] || loc[1] > len(text)) {
			t.Errorf("%q on %q: %v", pattern, text, loc)
		}
	})
}
