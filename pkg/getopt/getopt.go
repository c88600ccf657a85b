// Package getopt reads single-letter options as getopt(3) does when told to
// stop at the first word that is no option: the daemons' command line, whose
// rest belongs to somebody else.
package getopt

import "fmt"

// An Option is one that was found; Value is empty for one without argument.
type Option struct {
	Letter byte
	Value  string
}

// InvalidError says that a letter is not among the options, or lacks its value.
type InvalidError struct {
	Letter  byte
	Missing bool
}

// Error uses the words of the C library.
func (e *InvalidError) Error() string {
	if e.Missing {
		return fmt.Sprintf("option requires an argument -- '%c'", e.Letter)
	}
	return fmt.Sprintf("invalid option -- '%c'", e.Letter)
}

// Parse splits args (without the program name) into options and the words that
// follow them. In the specification a colon after a letter says that the
// option has a value: "c:v". The options found before an error are returned.
func Parse(args []string, spec string) (options []Option, rest []string, err error) {
	takesValue := make(map[byte]bool, len(spec))
	for i := 0; i < len(spec); i++ {
		if spec[i] != ':' {
			takesValue[spec[i]] = i+1 < len(spec) && spec[i+1] == ':'
		}
	}
	for len(args) > 0 {
		word := args[0]
		if len(word) < 2 || word[0] != '-' {
			break
		}
		args = args[1:]
		if word == "--" {
			break
		}
		for i := 1; i < len(word); i++ {
			letter := word[i]
			value, known := takesValue[letter]
			switch {
			case !known:
				return options, args, &InvalidError{Letter: letter}
			case !value:
				options = append(options, Option{Letter: letter})
				continue
			case i+1 < len(word):
				options = append(options, Option{letter, word[i+1:]})
			case len(args) > 0:
				options = append(options, Option{letter, args[0]})
				args = args[1:]
			default:
				return options, args, &InvalidError{Letter: letter, Missing: true}
			}
			break
		}
	}
	return options, args, nil
}
