package qmgr

import "time"

// candidateCache remembers which job may preempt the current one; to find it
// means a walk through all jobs.
type candidateCache struct {
	forJob *job // nil: nothing is remembered
	found  *job
	second int64
}

func (c *candidateCache) reset() { c.forJob = nil }

// nextEntry selects the entry that an agent of the transport gets, nil if there
// is none (spec qmgr §7.4).
func (t *transport) nextEntry() *entry {
	j := t.current
	if j == nil {
		return nil
	}
	if t.slotCost >= 2 {
		j = t.preempt(j)
	}
	for next := j; j != nil; j = next {
		next = j.priority.after()
		if j.blockerTag == t.blockerTag {
			continue
		}
		if j.wantsRefill(seconds) {
			t.m.refill(j.msg)
		}
		if p := j.nextPeer(); p != nil {
			return t.selectFrom(p)
		}
		if j.selected < j.read {
			j.block()
			continue
		}
		j.retire()
	}
	t.current = nil
	return nil
}

func seconds() int64 { return time.Now().Unix() }

// nextPeer returns a peer whose queue can take a delivery, and makes it the
// last to be asked next time.
func (j *job) nextPeer() *peer {
	for p := j.peers.first(); p != nil; p = p.place.after() {
		if p.queue.room() && p.todo.n > 0 {
			p.place.moveToBack()
			return p
		}
	}
	return nil
}

// selectFrom takes the first entry of a peer.
func (t *transport) selectFrom(p *peer) *entry {
	e, j := p.todo.first(), p.job
	e.take()
	e.queue.busy++
	e.queue.changed()
	j.selected++
	j.slotsOpen++
	j.slotsUsed++
	if t.candidate.forJob != j {
		t.candidate.reset()
	}
	t.current = j
	if j.selected >= j.read && j.msg.nextOffset == 0 {
		j.retire()
	}
	return e
}

// block marks a job that has entries, but none that could be delivered now,
// and the queues that are to blame.
func (j *job) block() {
	j.blockerTag = j.transport.blockerTag
	for p := j.peers.first(); p != nil; p = p.place.after() {
		if p.todo.n > 0 {
			p.queue.blockerTag = j.transport.blockerTag
		}
	}
}

// unblockAll gives all jobs another chance.
func (t *transport) unblockAll() {
	t.blockerTag++
	t.current = t.byPriority.first()
	t.candidate.reset()
}

// preempt returns the job that is to be served: j, or a smaller one that j has
// earned enough slots for (spec qmgr §7.5).
func (t *transport) preempt(j *job) *job {
	if j.slotsOpen <= 0 || j.maxEntries() < t.minimumSlots*t.slotCost {
		return j
	}
	k := t.findCandidate(j)
	if k == nil {
		return j
	}
	expected := k.maxEntries() - k.selected
	if j.slotsOpen/t.slotCost+t.slotLoan < expected*(100-t.slotDiscount)/100 {
		return j
	}
	if k.level > 0 {
		k.pop()
	}
	k.priority.remove()
	t.byPriority.insert(&k.priority, j.priority.prev)
	k.parent, k.level = j, j.level+1
	j.children.pushFront(&k.sibling)
	t.current = k
	t.candidate.reset()
	j.slotsOpen -= expected * t.slotCost
	k.slotsUsed = -expected
	if k.msg.nextOffset != 0 {
		if n := (t.extraRcpts + t.pool + 1) / 2; n > 0 {
			k.grant(n)
		}
	}
	return k
}

// findCandidate returns the job behind j that gains most from coming first:
// it is small and has waited long.
func (t *transport) findCandidate(j *job) *job {
	now := seconds()
	c := &t.candidate
	if c.forJob == j && (c.found == nil || c.second == now) {
		return c.found
	}
	*c = candidateCache{forJob: j, second: now}
	maxSlots := (j.minEntries() - j.selected + j.slotsOpen) / t.slotCost
	if maxSlots <= 0 {
		return nil
	}
	best := 0.0
	for k := j.priority.after(); k != nil; k = k.priority.after() {
		if k.children.n > 0 || k.blockerTag == t.blockerTag {
			continue
		}
		age := float64(now - k.msg.queued + 1)
		if need := k.maxEntries() - k.selected; need > 0 && need <= maxSlots {
			if score := age / float64(k.maxEntries()); score > best {
				best, c.found = score, k
			}
		}
		if k.level == 0 && age <= best {
			break
		}
	}
	return c.found
}

// pop takes a job off the stack of jobs that preempt each other, and settles
// the slots with its parent (spec qmgr §7.6).
func (k *job) pop() {
	parent := k.parent
	if parent != nil {
		if k.level == parent.level+1 {
			parent.slotsOpen -= k.slotsUsed * k.transport.slotCost
		}
		k.sibling.remove()
	}
	for child := k.children.first(); child != nil; child = k.children.first() {
		child.sibling.remove()
		child.parent = parent
		if parent != nil {
			parent.children.pushBack(&child.sibling)
		}
	}
	k.parent, k.level = nil, 0
	k.transport.candidate.reset()
}
