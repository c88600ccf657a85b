package main

import (
	"errors"
	"fmt"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/getopt"
)

// An option is one letter of the command line, or the second -P.
type option uint32

const (
	optA0       option = 1 << iota // -a
	optA                           // -A
	optB                           // -b
	optC                           // -C
	optD                           // -d
	optE                           // -e
	optF0                          // -f
	optF                           // -F
	optH0                          // -h
	optH                           // -H
	optJ                           // -j
	optL                           // -l
	optM0                          // -m
	optM                           // -M
	optN                           // -n
	optO                           // -o
	optP0                          // -p
	optP                           // -P
	optT0                          // -t
	optT                           // -T
	optX0                          // -x
	optX                           // -X
	optHash                        // -#
	optPP                          // the second -P
	optQ                           // -q, which no rule mentions
	optionCount = iota
)

var optionNames = [optionCount]string{"-a", "-A", "-b", "-C", "-d", "-e", "-f", "-F", "-h", "-H", "-j", "-l", "-m", "-M", "-n", "-o",
	"-p", "-P", "-t", "-T", "-x", "-X", "-#", "-PP", "-q"}

const optionLetters = "aAb" + "Cdef" + "FhHj" + "lmMnopPtTxX#" // in the order of the names

const (
	modes = optA0 | optA | optB | optF | optL | optM0 | optM | optP0 | optP | optT0 | optT
	edits = optE | optX | optHash
)

// Groups of which one option may be given.
var exclusive = [...]option{
	modes,
	optE | optHash | optX | optPP,
	optD | optE | optN | optHash | optX,
	optF0 | optE | optHash | optX,
	optX0 | optE | optHash | optX,
	optO | optD | optE | optHash | optX,
	optH0 | optE | optHash | optX | optH,
}

// What may stand beside an option.
var partners = [...]struct{ with, allowed option }{
	{optA0, 0}, {optA, 0}, {optB, 0}, {optL, 0}, {optM0, 0}, {optT, 0}, {optT0, 0},
	{optP0, edits | optF0 | optH0 | optH | optX0 | optD | optN | optO | optJ},
	{optM, edits | optF0 | optO | optX0 | optJ},
	{optF, optE | optF0 | optH0 | optH | optO | optX0 | optJ},
	{optP, optE | optX | optF0 | optH0 | optH | optO | optX0 | optJ | optPP},
	{optPP, optF0 | optH0 | optH | optO | optX0 | optP},
	{optJ, optP0 | optM | optF | optP | optO | optX0 | optN | optD},
}

// options is what the command line asks for.
type options struct {
	given     option
	configDir string
	classes   class
	overrides []string // of -o, as given
	tlsMode   string
	verbose   int // how many -v
	operands  []string
}

func (o *options) has(list option) bool { return o.given&list != 0 }

const usageText = " [-a (server SASL types)] [-A (client SASL types)] [-b (bounce templates)] [-c config_dir] [-c param_class]" +
	" [-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)] [-F (master.cf fields)] [-h (no names)] [-H (no values)]" +
	" [-j (streaming JSON) ] [-l (lock types)] [-m (map types)] [-M (master.cf)] [-n (non-default parameters)]" +
	" [-o name=value (override parameter value)] [-p (main.cf, default)] [-P (master.cf parameters)] [-t (bounce templates)]" +
	" [-T compile-version|run-version|public-key-algorithms] [-v (verbose)] [-x (expand parameter values)] [-X (exclude)]" +
	" [-# (comment-out)] [name...]"

// parse reads the command line.
func (p *postconf) parse(args []string) error {
	o := &p.options
	o.classes = classAll
	list, rest, err := getopt.Parse(args, "aAbc:C:defFhHjlmMno:pPqtT:vxX#")
	for _, opt := range list {
		if err := o.set(opt); err != nil {
			return err
		}
	}
	if err != nil {
		p.message(err.Error())
		return errors.New("usage: " + p.tag + usageText)
	}
	o.operands = rest
	if !o.has(modes&^(optP0|optM|optF|optP)) && !o.has(optE) && len(rest) > 0 && strings.Contains(rest[0], "=") {
		o.given |= optE
	}
	if !o.has(modes) {
		o.given |= optP0
	}
	return o.check()
}

func (o *options) set(opt getopt.Option) error {
	switch opt.Letter {
	case 'c':
		o.configDir = opt.Value
		return config.UseDir(opt.Value)
	case 'C':
		o.given |= optC
		return o.setClasses(opt.Value)
	case 'o':
		o.given |= optO
		o.overrides = append(o.overrides, opt.Value)
		return nil
	case 'T':
		if o.has(optT) {
			return errors.New("At most one -T <mode> option may be specified") //lint:ignore ST1005 the text of the interface
		}
		o.given |= optT
		o.tlsMode = opt.Value
		return nil
	case 'P':
		if o.has(optP) {
			o.given |= optPP
		}
		o.given |= optP
		return nil
	case 'q':
		o.given |= optQ
		return nil
	case 'v':
		o.verbose++
		return nil
	case 'b', 't':
		if o.has(optB | optT0) {
			return errors.New("specify one of -b and -t")
		}
	}
	o.given |= letterOption(opt.Letter)
	return nil
}

func letterOption(letter byte) option {
	return 1 << strings.IndexByte(optionLetters, letter)
}

func (o *options) setClasses(text string) error {
	o.classes = 0
	for _, word := range config.SplitList(text) {
		switch strings.ToLower(word) {
		case "builtin":
			o.classes |= classBuiltin
		case "service":
			o.classes |= classService
		case "user":
			o.classes |= classUser
		case "all":
			o.classes |= classAll
		default:
			return fmt.Errorf("unknown -C option value \"%s\" in \"%s\"", word, text)
		}
	}
	return nil
}

// check applies the rules of combination in their order.
func (o *options) check() error {
	for _, group := range exclusive {
		if both := o.given & group; both&(both-1) != 0 {
			return errors.New("specify one of " + both.list(", "))
		}
	}
	for _, rule := range partners {
		if bad := o.given &^ (rule.with | rule.allowed | optC | optQ); o.has(rule.with) && bad != 0 {
			return fmt.Errorf("with option %s, do not specify %s", rule.with.list(" "), bad.list(" "))
		}
	}
	switch {
	case o.has(optE) && len(o.operands) == 0:
		return errors.New("-e requires name=value argument")
	case o.has(optB|optT0) && len(o.operands) > 1:
		return errors.New("options -b and -t require at most one template file")
	case o.has(optX|optHash) && len(o.operands) == 0:
		return errors.New("missing service argument")
	}
	return nil
}

func (list option) list(separator string) string {
	var names []string
	for i, name := range optionNames {
		if list&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, separator)
}
