package posix

import "slices"

// maxSteps limits the work for one text.
const maxSteps = 2_000_000

// matcher tries all ways to match from one start and keeps the longest.
type matcher struct {
	text  string
	flags Flags
	loc   []int
	best  []int
	steps int
	depth int
}

// maxStack limits the depth of the recursion.
const maxStack = 100_000

func (r *Regexp) backtrack(text string) ([]int, error) {
	m := &matcher{text: text, flags: r.flags, loc: make([]int, 2*(r.groups+1))}
	for start := 0; start <= len(text); start++ {
		for i := range m.loc {
			m.loc[i] = -1
		}
		m.loc[0] = start
		m.run(r.tree, start, func(end int) {
			if m.best == nil || end > m.best[1] {
				m.loc[1] = end
				m.best = slices.Clone(m.loc)
			}
		})
		if m.steps > maxSteps {
			return nil, ErrLimit
		}
		if m.best != nil {
			return m.best, nil
		}
	}
	return nil, nil
}

// run matches n at a position and calls next for each end that is possible.
func (m *matcher) run(n *node, at int, next func(end int)) {
	m.steps++
	if m.steps > maxSteps || m.best != nil && m.best[1] == len(m.text) {
		return
	}
	if m.depth++; m.depth > maxStack {
		m.steps = maxSteps + 1
	}
	defer func() { m.depth-- }()
	switch n.op {
	case opEmpty:
		next(at)
	case opSet:
		if at < len(m.text) && n.set.has(m.text[at]) {
			next(at + 1)
		}
	case opCat:
		m.cat(n.subs, at, next)
	case opAlt:
		for _, s := range n.subs {
			m.run(s, at, next)
		}
	case opRepeat:
		m.repeat(n, 0, at, next)
	case opGroup:
		i := 2 * n.n
		m.run(n.subs[0], at, func(end int) {
			from, to := m.loc[i], m.loc[i+1]
			m.loc[i], m.loc[i+1] = at, end
			next(end)
			m.loc[i], m.loc[i+1] = from, to
		})
	case opBackref:
		from, to := m.loc[2*n.n], m.loc[2*n.n+1]
		if from >= 0 && len(m.text)-at >= to-from && m.equal(m.text[from:to], m.text[at:at+to-from]) {
			next(at + to - from)
		}
	default:
		if m.holds(n.op, at) {
			next(at)
		}
	}
}

func (m *matcher) equal(a, b string) bool {
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if m.flags&FoldCase != 0 {
			if upper(x) {
				x += 'a' - 'A'
			}
			if upper(y) {
				y += 'a' - 'A'
			}
		}
		if x != y {
			return false
		}
	}
	return true
}

func (m *matcher) cat(subs []*node, at int, next func(int)) {
	if len(subs) == 0 {
		next(at)
		return
	}
	m.run(subs[0], at, func(end int) { m.cat(subs[1:], end, next) })
}

func (m *matcher) repeat(n *node, done, at int, next func(int)) {
	if n.max < 0 || done < n.max {
		m.run(n.subs[0], at, func(end int) {
			if end > at || done < n.min { // an empty turn leads nowhere new
				m.repeat(n, done+1, end, next)
			}
		})
	}
	if done >= n.min {
		next(at)
	}
}

// holds tests a condition on a position.
func (m *matcher) holds(op op, at int) bool {
	before := at > 0 && word(m.text[at-1])
	after := at < len(m.text) && word(m.text[at])
	switch op {
	case opBegin:
		return at == 0 || m.flags&Newline != 0 && m.text[at-1] == '\n'
	case opEnd:
		return at == len(m.text) || m.flags&Newline != 0 && m.text[at] == '\n'
	case opTextBegin:
		return at == 0
	case opTextEnd:
		return at == len(m.text)
	case opWordEdge:
		return before != after
	case opNoEdge:
		return before == after
	case opWordBegin:
		return !before && after
	case opWordEnd:
		return before && !after
	}
	return false
}
