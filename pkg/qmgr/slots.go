package qmgr

// Recipient slots bound how many recipients are in memory, so that a message
// with a million of them neither fills it nor keeps others out (spec qmgr §8).

// grant gives a job slots from its transport's pool.
func (j *job) grant(n int) {
	j.transport.pool -= n
	j.rcptLimit += n
	j.msg.rcptLimit += n
}

// giveBack returns the slots that a job does not use to the pool.
func (j *job) giveBack() {
	unused := min(j.rcptLimit-j.rcptCount, j.msg.rcptLimit-j.msg.rcptCount)
	if unused > 0 {
		j.grant(-unused)
	}
}

// returnSlots gives unused slots back, and passes the pool on to the oldest
// job that has recipients to read.
func (j *job) returnSlots() {
	j.giveBack()
	t := j.transport
	for t.nextUnread != nil && t.nextUnread.msg.nextOffset == 0 {
		t.nextUnread = t.nextUnread.byTime.after()
	}
	if next := t.nextUnread; next != nil && next != j && t.pool > 0 {
		next.grant(t.pool)
	}
}

// returnAllSlots is returnSlots for all jobs of a message.
func (msg *message) returnAllSlots() {
	for _, j := range msg.jobs {
		j.returnSlots()
	}
}

// wantsRefill says whether it is time to read more of a message: there is room
// for many more recipients, or for some and it was long ago.
func (j *job) wantsRefill(now func() int64) bool {
	msg := j.msg
	if msg.nextOffset == 0 || msg.reading {
		return false
	}
	free := msg.rcptLimit - msg.rcptCount
	return free >= j.transport.refillLimit ||
		free > 0 && now()-msg.lastRead.Unix() >= int64(j.transport.refillDelay.Seconds())
}
