package getopt

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	cases := []struct {
		args    []string
		spec    string
		options []Option
		rest    []string
		err     string
	}{
		{[]string{"-v", "-c", "dir", "x", "-v"}, "c:v", []Option{{'v', ""}, {'c', "dir"}}, []string{"x", "-v"}, ""},
		{[]string{"-vvcdir"}, "c:v", []Option{{'v', ""}, {'v', ""}, {'c', "dir"}}, nil, ""},
		{[]string{"-v", "--", "-v"}, "v", []Option{{'v', ""}}, []string{"-v"}, ""},
		{[]string{"-"}, "v", nil, []string{"-"}, ""},
		{[]string{"-o", "a = b c", "-o"}, "o:", []Option{{'o', "a = b c"}}, nil, "option requires an argument -- 'o'"},
		{[]string{"-vx"}, "v", []Option{{'v', ""}}, nil, "invalid option -- 'x'"},
		{[]string{"-:"}, "c:", nil, nil, "invalid option -- ':'"},
	}
	for _, c := range cases {
		options, rest, err := Parse(c.args, c.spec)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != c.err || !reflect.DeepEqual(options, c.options) || len(rest) != len(c.rest) {
			t.Errorf("%q: %v %q %q", c.args, options, rest, text)
		}
	}
}
