package master

import (
	"debug/buildinfo"
	"os"

	"suffix/pkg/params"
)

// heavyPath is the main package of our second executable, as it stands in the
// file.
const heavyPath = "suffix/libexec/heavy"

// findExecutable notes which file is ours: this very program, and the one that
// now stands in its place after an upgrade.
func (m *Master) findExecutable() {
	m.executable = nil
	for _, path := range []string{"/proc/self/exe", m.cfg.String(params.DaemonDirectory) + "/master"} {
		if info, err := os.Stat(path); err == nil {
			m.executable = append(m.executable, info)
		}
	}
}

// isOurs says whether the program at path is one of ours: the same executable
// as master's, or the one that says that it was built as our second. A program
// of Postfix that was put in the place of ours is neither.
func (m *Master) isOurs(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	for _, other := range m.executable {
		if os.SameFile(info, other) {
			return true
		}
	}
	built, err := buildinfo.ReadFile(path)
	return err == nil && built.Path == heavyPath
}
