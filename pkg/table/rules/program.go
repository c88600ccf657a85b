package rules

// A Program is a list of rules and of IF ... ENDIF around some of them. T is
// what one pattern is to its table.
type Program[T any] struct {
	steps []step[T]
	open  []int // IFs without ENDIF yet
}

type step[T any] struct {
	pattern T
	isIf    bool
	line    int
	end     int // of an IF: the step behind its ENDIF
}

// Rule adds a rule.
func (p *Program[T]) Rule(line int, pattern T) {
	p.steps = append(p.steps, step[T]{pattern: pattern, line: line})
}

// If adds an IF.
func (p *Program[T]) If(line int, pattern T) {
	p.open = append(p.open, len(p.steps))
	p.steps = append(p.steps, step[T]{pattern: pattern, isIf: true, line: line})
}

// EndIf ends the innermost IF; false: there is none.
func (p *Program[T]) EndIf() bool {
	if len(p.open) == 0 {
		return false
	}
	last := len(p.open) - 1
	p.steps[p.open[last]].end = len(p.steps)
	p.open = p.open[:last]
	return true
}

// Finish is called at the end of the source, and calls warn with the line of
// each IF that has no ENDIF, innermost first.
func (p *Program[T]) Finish(warn func(line int)) {
	for i := len(p.open) - 1; i >= 0; i-- {
		at := p.open[i]
		p.steps[at].end = len(p.steps)
		warn(p.steps[at].line)
	}
	p.open = nil
}

// Run tests one pattern after the other, skipping what stands in an IF that
// does not match, until a rule matches or test fails.
func (p *Program[T]) Run(test func(pattern *T, line int) (bool, error)) (hit *T, err error) {
	for i := 0; i < len(p.steps); {
		s := &p.steps[i]
		matched, err := test(&s.pattern, s.line)
		switch {
		case err != nil:
			return nil, err
		case s.isIf && !matched:
			i = s.end
			continue
		case !s.isIf && matched:
			return &s.pattern, nil
		}
		i++
	}
	return nil, nil
}
