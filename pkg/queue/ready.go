package queue

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"suffix/pkg/syserr"
)

// Info is what Ready found out about a message file.
type Info struct {
	Path  string
	Mode  os.FileMode // permission bits
	Size  int64
	Mtime time.Time
	UID   uint32
	Inode uint64
	Links uint64
}

// Ready reports whether a queue has a complete message of this ID: a regular
// file with all owner bits set. What is odd is logged; incomplete and missing
// files are not odd (spec queue-files §4.1).
func (t *Tree) Ready(queueName, id string) (Info, bool) {
	if !ValidName(queueName) {
		t.warnf("bad mail queue name: %s", queueName)
		return Info{}, false
	}
	if !ValidID(id) {
		return Info{}, false
	}
	info := Info{Path: t.Path(queueName, id)}
	var st syscall.Stat_t
	if err := lstat(info.Path, &st); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.warnf("%s: %s", info.Path, syserr.Text(err))
		}
		return info, false
	}
	info.Mode = os.FileMode(st.Mode & 0777)
	info.Size = st.Size
	info.Mtime = time.Unix(st.Mtim.Sec, st.Mtim.Nsec)
	info.UID = st.Uid
	info.Inode = st.Ino
	info.Links = uint64(st.Nlink)
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		t.warnf("%s: uid %d: not a regular file", info.Path, st.Uid)
		return info, false
	}
	if info.Mode&ModeReady != ModeReady {
		return info, false
	}
	if st.Nlink > 1 && time.Now().Unix() > st.Ctim.Sec+60 {
		t.warnf("%s: uid %d: file has %d links", info.Path, st.Uid, st.Nlink)
	}
	return info, true
}

func lstat(path string, st *syscall.Stat_t) error {
	for {
		err := syscall.Lstat(path, st)
		if err != syscall.EINTR {
			return err
		}
	}
}
