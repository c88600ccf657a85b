package qmgr

// A list is a doubly-linked list of objects that hold their links themselves,
// so that joining and leaving costs no memory and no search.
type list[T any] struct {
	front, back *link[T]
	n           int
}

// A link is an object's place in a list; set owner before its first use.
type link[T any] struct {
	prev, next *link[T]
	in         *list[T]
	owner      *T
}

// linked says whether the object is in a list.
func (l *link[T]) linked() bool { return l.in != nil }

// after and before return the neighbours, nil at the ends.
func (l *link[T]) after() *T  { return l.next.object() }
func (l *link[T]) before() *T { return l.prev.object() }

func (l *link[T]) object() *T {
	if l == nil {
		return nil
	}
	return l.owner
}

// first returns the object at the front, nil in an empty list.
func (s *list[T]) first() *T { return s.front.object() }

// last returns the object at the end, nil in an empty list.
func (s *list[T]) last() *T { return s.back.object() }

func (s *list[T]) pushFront(l *link[T]) { s.insert(l, nil) }
func (s *list[T]) pushBack(l *link[T])  { s.insert(l, s.back) }

// insert puts l behind prev, or at the front when prev is nil.
func (s *list[T]) insert(l, prev *link[T]) {
	l.in, l.prev = s, prev
	if prev == nil {
		l.next, s.front = s.front, l
	} else {
		l.next, prev.next = prev.next, l
	}
	if l.next == nil {
		s.back = l
	} else {
		l.next.prev = l
	}
	s.n++
}

// remove takes l out of the list that it is in.
func (l *link[T]) remove() {
	s := l.in
	if l.prev == nil {
		s.front = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		s.back = l.prev
	} else {
		l.next.prev = l.prev
	}
	s.n--
	l.prev, l.next, l.in = nil, nil, nil
}

// moveToBack makes l the last of its list.
func (l *link[T]) moveToBack() {
	s := l.in
	if s.back == l {
		return
	}
	l.remove()
	s.pushBack(l)
}
