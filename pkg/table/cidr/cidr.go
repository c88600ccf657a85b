// Package cidr has the table type cidr: addresses are looked up in a list of
// networks (spec tables §9.2).
package cidr

import (
	"errors"
	"net/netip"
	"strings"

	"suffix/pkg/table"
	"suffix/pkg/table/netblock"
	"suffix/pkg/table/rules"
)

func init() { table.Register("cidr", table.Type{Open: open}) }

type cidr struct {
	rules.Base
	program rules.Program[rule]
}

type rule struct {
	block  netblock.Block
	negate bool
	value  string
}

// matches says whether a rule applies. It never does to the other family.
func (r *rule) matches(ip netip.Addr) bool {
	return ip.Is6() == r.block.IPv6() && r.block.Contains(ip) != r.negate
}

func open(typ, name string, o table.Options) (table.Table, error) {
	src, err := rules.Read(typ, name, o)
	if err != nil {
		return nil, err
	}
	t := &cidr{Base: src.Base()}
	for _, line := range src.Lines {
		if err := t.add(src, line); err != nil {
			src.Warn(line.Number, "%s: skipping this rule", err)
		}
	}
	t.program.Finish(func(line int) { src.Warn(line, "IF has no matching ENDIF") })
	return t, nil
}

func (t *cidr) add(src *rules.Source, line rules.Line) error {
	if rest, ok := rules.CutWord(line.Text, "endif"); ok {
		if rest != "" {
			return errors.New("garbage after ENDIF")
		}
		if !t.program.EndIf() {
			return errors.New("ENDIF without IF")
		}
		return nil
	}
	text, isIf := rules.CutWord(line.Text, "if")
	if !isIf {
		text = line.Text
	}
	var r rule
	text, r.negate = rules.CutNegation(text)
	pattern, value := text, ""
	if !isIf {
		if i := strings.IndexAny(text, " \t\n\v\f\r"); i >= 0 {
			pattern, value = text[:i], table.TrimSpace(text[i:])
		}
	}
	if pattern == "" {
		return errors.New("no address pattern")
	}
	var err error
	if r.block, err = netblock.Parse(pattern); err != nil {
		return err
	}
	if !isIf && value == "" {
		return errors.New("no lookup result")
	}
	if isIf {
		t.program.If(line.Number, r)
		return nil
	}
	if r.value, err = src.Value(value); err != nil {
		return err
	}
	t.program.Rule(line.Number, r)
	return nil
}

// Lookup finds the first rule that applies to an address.
func (t *cidr) Lookup(key string) (string, bool, error) {
	ip, ok := netblock.ParseAddr(key)
	if !ok {
		return "", false, nil
	}
	hit, err := t.program.Run(func(r *rule, _ int) (bool, error) { return r.matches(ip), nil })
	if hit == nil || err != nil {
		return "", false, err
	}
	return hit.value, true, nil
}
