package qmgr

// trigger acts on the bytes of one request (spec qmgr §2.1): they are put
// together first, so that their order does not matter.
func (m *Manager) trigger(request []byte) {
	var incoming, deferred scanFlags
	for _, code := range request {
		switch code {
		case 'D':
			deferred |= scanStart
		case 'I', 'W':
			incoming |= scanStart
		case 'A':
			incoming |= scanIgnoreTimes
			deferred |= scanIgnoreTimes
		case 'F':
			incoming |= scanFlush
			deferred |= scanFlush
		}
	}
	if incoming != 0 {
		m.incoming.request(incoming)
	}
	if deferred != 0 {
		m.deferred.request(deferred)
	}
}
