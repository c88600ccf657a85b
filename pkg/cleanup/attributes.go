package cleanup

// attributes are the named attributes of an envelope. Names and values stand
// in one buffer that later messages reuse.
type attributes struct {
	data    []byte
	entries []attribute
}

type attribute struct{ name, value, end int }

func (a *attributes) find(name string) int {
	for i, e := range a.entries {
		if string(a.data[e.name:e.value]) == name {
			return i
		}
	}
	return -1
}

// set stores a value; an earlier one of that name is forgotten.
func (a *attributes) set(name, value string) {
	e := attribute{name: len(a.data)}
	a.data = append(a.data, name...)
	e.value = len(a.data)
	a.data = append(a.data, value...)
	e.end = len(a.data)
	if i := a.find(name); i >= 0 {
		a.entries[i] = e
		return
	}
	a.entries = append(a.entries, e)
}

// has reports whether the name is there, without making a string of it.
func (a *attributes) has(name []byte) bool {
	for _, e := range a.entries {
		if string(a.data[e.name:e.value]) == string(name) {
			return true
		}
	}
	return false
}

// get returns a value, or "" if there is none.
func (a *attributes) get(name string) string {
	if i := a.find(name); i >= 0 {
		e := a.entries[i]
		return string(a.data[e.value:e.end])
	}
	return ""
}
