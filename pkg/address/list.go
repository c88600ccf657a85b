package address

import "strings"

// A List is a parsed address list: a sequence of tokens in which each address
// is one token. It keeps comments, phrases and punctuation, so that a header
// can be written again with other addresses.
type List struct {
	nodes []node // nodes[0] is the ring's head
}

type node struct {
	text       string
	prev, next int32
	kind       Kind
}

// Parse reads an address list, at most limit tokens of it (0: no limit). Text
// beyond the limit is ignored. There is no wrong list: whatever stands in the
// text becomes some address.
func Parse(text string, limit int) *List {
	l := &List{nodes: make([]node, 1, 16)}
	l.scan(text, limit)
	l.group()
	return l
}

func (l *List) push(kind Kind, text string) {
	l.insertBefore(0, kind, text)
}

// insertBefore adds a node in front of node b.
func (l *List) insertBefore(b int32, kind Kind, text string) int32 {
	n := int32(len(l.nodes))
	l.nodes = append(l.nodes, node{kind: kind, text: text})
	l.link(n, b)
	return n
}

// link puts the free node n in front of node b.
func (l *List) link(n, b int32) {
	p := l.nodes[b].prev
	l.nodes[n].prev, l.nodes[n].next = p, b
	l.nodes[p].next, l.nodes[b].prev = n, n
}

func (l *List) unlink(n int32) {
	p, q := l.nodes[n].prev, l.nodes[n].next
	l.nodes[p].next, l.nodes[q].prev = q, p
}

func (l *List) is(n int32, op byte) bool {
	return l.nodes[n].kind == Operator && l.nodes[n].text[0] == op
}

// collect makes one address node of the nodes strictly between a and b. It
// returns the address node, or b if there was nothing.
func (l *List) collect(a, b int32) int32 {
	first := l.nodes[a].next
	if first == b || a == b && a != 0 { // node 0 is both ends
		return b
	}
	if l.nodes[first].next == b && l.nodes[first].kind == Atom {
		l.nodes[first].kind = Address
		return first
	}
	var text strings.Builder
	for n := first; n != b; n = l.nodes[n].next {
		switch l.nodes[n].kind {
		case Literal:
			text.WriteByte('[')
			escape(&text, l.nodes[n].text, "\\\r\n")
			text.WriteByte(']')
		default:
			text.WriteString(l.nodes[n].text)
		}
	}
	l.nodes[a].next, l.nodes[b].prev = b, a
	return l.insertBefore(b, Address, text.String())
}

// collectAfterComma is collect with a comma put in front of the address. It
// returns the comma.
func (l *List) collectAfterComma(a, b int32) int32 {
	n := l.collect(a, b)
	if n == b {
		return b
	}
	return l.insertBefore(n, Operator, ",")
}

// group finds the addresses, from right to left (spec cleanup §9.3).
func (l *List) group() {
	var (
		right   int32 // not yet grouped up to here
		wordOK  = true
		inGroup = false
	)
	t := l.nodes[0].prev
	for t != 0 {
		prev := l.nodes[t].prev
		switch l.nodes[t].kind {
		case Comment:
			l.unlink(t)
			l.link(t, right)
			right = t
			t = prev
			continue
		case Atom, Quoted, Literal:
			if !wordOK {
				right = l.collectAfterComma(t, right)
			}
			wordOK = false
			t = prev
			continue
		}
		switch l.nodes[t].text[0] {
		case ';':
			l.collectAfterComma(t, right)
			right = t
			wordOK, inGroup = true, true
		case ':':
			if !inGroup {
				wordOK = true
				break
			}
			l.nodes[t].kind = GroupStart
			l.collect(t, right)
			for prev != 0 && !l.is(prev, ',') {
				prev = l.nodes[prev].prev
			}
			right = next(l, prev)
		case '>':
			l.collectAfterComma(t, right)
			right = t
			for prev != 0 && !l.is(prev, '<') {
				q := l.nodes[prev].prev
				if l.nodes[prev].kind == Comment {
					l.unlink(prev)
					l.link(prev, right)
					right = prev
				}
				prev = q
			}
			l.collect(prev, right)
			if prev != 0 {
				prev = l.nodes[prev].prev
			}
			for prev != 0 && !l.is(prev, '>') && !l.is(prev, ';') && !l.is(prev, ',') && !l.is(prev, ':') {
				prev = l.nodes[prev].prev
			}
			right = next(l, prev)
			wordOK = true
		case ',':
			l.collect(t, right)
			right = t
			wordOK = true
		default:
			wordOK = true
		}
		t = prev
	}
	l.collect(0, right)
}

// next is the node at which the ungrouped text to the left ends: n itself, or
// the first node when nothing is left.
func next(l *List, n int32) int32 {
	if n == 0 {
		return l.nodes[0].next
	}
	return n
}

// Addresses returns the addresses in order, in internal form.
func (l *List) Addresses() []string {
	var all []string
	for n := l.nodes[0].next; n != 0; n = l.nodes[n].next {
		if l.nodes[n].kind == Address {
			all = append(all, l.nodes[n].text)
		}
	}
	return all
}

// First returns the first address in internal form; ok is false when the list
// has none.
func (l *List) First() (internal string, ok bool) {
	for n := l.nodes[0].next; n != 0; n = l.nodes[n].next {
		if l.nodes[n].kind == Address {
			return l.nodes[n].text, true
		}
	}
	return "", false
}

// Rewrite calls edit for each address in order and puts its result in the
// address's place. It stops at the first error. changed says whether any
// address differs from before.
func (l *List) Rewrite(edit func(internal string) (string, error)) (changed bool, err error) {
	for n := l.nodes[0].next; n != 0; n = l.nodes[n].next {
		if l.nodes[n].kind != Address {
			continue
		}
		text, err := edit(l.nodes[n].text)
		if err != nil {
			return changed, err
		}
		if text != l.nodes[n].text {
			l.nodes[n].text = text
			changed = true
		}
	}
	return changed, nil
}

// String returns the list on one line.
func (l *List) String() string { return l.format(' ') }

// Header returns the list with a newline after each comma, for a header that
// is folded afterwards.
func (l *List) Header() string { return l.format('\n') }

func (l *List) format(afterComma byte) string {
	var b strings.Builder
	for n := l.nodes[0].next; n != 0; n = l.nodes[n].next {
		t := &l.nodes[n]
		switch t.kind {
		case Address:
			b.WriteString(Quote(t.text))
		case Quoted:
			b.WriteByte('"')
			escape(&b, t.text, "\"\\\r\n")
			b.WriteByte('"')
		case Literal:
			b.WriteByte('[')
			escape(&b, t.text, "\\\r\n")
			b.WriteByte(']')
		default:
			b.WriteString(t.text)
		}
		if l.is(n, ',') {
			b.WriteByte(afterComma)
			continue
		}
		if t.next == 0 {
			continue
		}
		if t.kind == GroupStart || l.is(t.next, '<') || wordLike(t.kind) && wordLike(l.nodes[t.next].kind) {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func wordLike(k Kind) bool { return k != Operator && k != GroupStart }

// Trim replaces each item of the list, that is what stands between two commas,
// whose text besides the address is longer than limit, by "<address>". It
// reports the text that is lost.
func (l *List) Trim(limit int, report func(text string)) {
	for start := l.nodes[0].next; start != 0; {
		end, size := start, 0
		addr := int32(0)
		var lost strings.Builder
		for ; end != 0 && !l.is(end, ','); end = l.nodes[end].next {
			if l.nodes[end].kind == Address {
				addr = end
				continue
			}
			size += len(l.nodes[end].text)
			if lost.Len() <= limit {
				lost.WriteString(l.nodes[end].text)
			}
		}
		if size > limit && addr != 0 {
			report(lost.String())
			for n := start; n != end; n = l.nodes[n].next {
				l.unlink(n)
			}
			l.insertBefore(end, Operator, "<")
			l.link(addr, end)
			l.insertBefore(end, Operator, ">")
		}
		if end == 0 {
			return
		}
		start = l.nodes[end].next
	}
}
