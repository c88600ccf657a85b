package qmgr

// flowBatch is how many messages may be taken from incoming before their
// tokens are given back, while there are events to handle.
const flowBatch = 10

// regulate keeps the number of flow tokens right (spec master §7). A token
// comes back for each message that was taken from the incoming queue; when
// that queue has been read to its end, all that are missing come back.
func (m *Manager) regulate() {
	if m.flow == nil || m.settings.inFlowDelay <= 0 {
		m.fed = 0
		return
	}
	if m.fed == 0 && m.incoming.running {
		return
	}
	have, want := m.flow.FlowPending(), m.settings.processLimit
	switch {
	case have > want:
		m.flow.FlowTake(have - want)
	case have < want && !m.incoming.running:
		m.flow.FlowPut(want - have)
	case have < want:
		m.flow.FlowPut(min(m.fed, want-have))
	}
	m.fed = 0
}
