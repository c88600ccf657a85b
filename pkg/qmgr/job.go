package qmgr

// A job is the part of a message that goes to one transport (spec qmgr §7.2).
type job struct {
	msg       *message
	transport *transport
	byTime    link[job] // when on the lists, on both
	priority  link[job]

	peers     list[peer] // those with waiting entries, the one whose turn it is first
	peerOf    map[*queueState]*peer
	read      int // entries made
	selected  int // entries given to agents
	slotsUsed int
	slotsOpen int // available for jobs that want to preempt this one
	rcptCount int // recipients in memory
	rcptLimit int // share in the transport's pool

	level      int // how deep in a stack of preempting jobs
	parent     *job
	children   list[job]
	sibling    link[job] // in parent.children
	blockerTag int
}

// A peer holds the entries of a job that wait for one queue.
type peer struct {
	job   *job
	queue *queueState
	todo  list[entry]
	place link[peer]
}

// maxEntries and minEntries say how many entries the job will have in all, as
// far as is known.
func (j *job) maxEntries() int { return j.read + j.msg.unread }
func (j *job) minEntries() int { return j.read }

// jobFor finds or makes the message's job for a transport.
func (msg *message) jobFor(t *transport) *job {
	j := msg.job(t)
	if j == nil {
		j = &job{msg: msg, transport: t, peerOf: make(map[*queueState]*peer)}
		j.byTime.owner, j.priority.owner, j.sibling.owner = j, j, j
		msg.jobs = append(msg.jobs, j)
	}
	return j
}

// peer finds or makes the job's peer for a queue.
func (j *job) peer(q *queueState) *peer {
	p := j.peerOf[q]
	if p == nil {
		p = &peer{job: j, queue: q}
		p.place.owner = p
		j.peerOf[q] = p
		j.peers.pushBack(&p.place)
	}
	return p
}

// dropIfIdle forgets a peer without waiting entries.
func (p *peer) dropIfIdle() {
	if p.todo.n == 0 {
		p.place.remove()
		delete(p.job.peerOf, p.queue)
	}
}

// link puts a job on the lists of its transport (spec qmgr §7.3).
func (j *job) link() {
	if !j.byTime.linked() {
		j.linkByTime()
		j.linkByPriority()
	}
	t := j.transport
	t.candidate.reset()
	if j.blockerTag == t.blockerTag {
		j.blockerTag = 0
		t.current = t.byPriority.first()
	}
}

func (j *job) linkByTime() {
	t := j.transport
	beforeUnread := t.nextUnread == nil
	prev := t.byTime.last()
	for prev != nil && prev.msg.queued > j.msg.queued {
		beforeUnread = beforeUnread || prev == t.nextUnread
		prev = prev.byTime.before()
	}
	t.byTime.insert(&j.byTime, linkOf(prev, func(p *job) *link[job] { return &p.byTime }))
	if beforeUnread {
		if t.nextUnread != nil {
			t.nextUnread.giveBack()
		}
		t.nextUnread = j
	}
	if t.pool > 0 {
		j.grant(t.pool)
	}
}

func (j *job) linkByPriority() {
	t := j.transport
	beforeCurrent := t.current == nil
	prev := t.byPriority.last()
	for prev != nil && (prev.parent != nil || prev.msg.queued > j.msg.queued) {
		beforeCurrent = beforeCurrent || prev == t.current
		prev = prev.priority.before()
	}
	t.byPriority.insert(&j.priority, linkOf(prev, func(p *job) *link[job] { return &p.priority }))
	if beforeCurrent {
		t.current = j
	}
}

func linkOf[T any](object *T, of func(*T) *link[T]) *link[T] {
	if object == nil {
		return nil
	}
	return of(object)
}

// unlink takes a job off the lists.
func (j *job) unlink() {
	if !j.byTime.linked() {
		return
	}
	t := j.transport
	if j.level > 0 {
		j.pop()
	}
	for child := j.children.first(); child != nil; child = j.children.first() {
		child.sibling.remove()
		child.parent = nil
	}
	if t.current == j {
		t.current = j.priority.after()
	}
	if t.nextUnread == j {
		t.nextUnread = j.byTime.after()
	}
	j.byTime.remove()
	j.priority.remove()
	t.candidate.reset()
}

// retire takes a job without waiting entries off the lists. It comes back when
// more of its message is read.
func (j *job) retire() {
	j.unlink()
	j.returnSlots()
}

// free ends a job.
func (j *job) free() {
	j.unlink()
	j.returnSlots()
}
