package cleanup

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// unfinished are the files that nobody has been told about yet. When the
// process is ended they are removed, as nothing will complete them.
type unfinished struct {
	mu    sync.Mutex
	paths map[string]struct{}
}

func (u *unfinished) add(path string) {
	u.mu.Lock()
	if u.paths == nil {
		u.paths = make(map[string]struct{})
	}
	u.paths[path] = struct{}{}
	u.mu.Unlock()
}

// done is called before a file becomes complete. After that nothing removes it.
func (u *unfinished) done(path string) {
	u.mu.Lock()
	delete(u.paths, path)
	u.mu.Unlock()
}

// RemoveUnfinished deletes all incomplete files. It is for a process that ends
// at once: messages that are still in progress wait for ever.
func (e *Engine) RemoveUnfinished() {
	e.open.mu.Lock()
	for path := range e.open.paths {
		os.Remove(path)
	}
}

// RemoveOnTerm removes incomplete files when the process is told to end.
func (e *Engine) RemoveOnTerm() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		e.RemoveUnfinished()
		signal.Reset(syscall.SIGTERM)
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM) // cannot fail for ourselves
	}()
}
