package nis

import (
	"slices"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/tabletest"
)

func set(t *testing.T, d string) {
	saved := domain
	domain = func() string { return d }
	t.Cleanup(func() { domain = saved })
}

// Without a NIS domain nothing is found, and that is said once.
func TestNoDomain(t *testing.T) {
	set(t, "")
	log := tabletest.Logged(t, func() {
		for _, name := range []string{"nis:mail.aliases", "nis:other"} {
			h := tabletest.Open(t, name, table.Options{})
			if got := tabletest.Find(t, h, "root"); got != "none" {
				t.Errorf("%s: %s", name, got)
			}
			if uid, known := h.Owner(); uid != 0 || !known {
				t.Errorf("owner %d %v", uid, known)
			}
		}
	})
	if want := []string{"warning: dict_nis_init: NIS domain name not set - NIS lookups disabled"}; !slices.Equal(log, want) {
		t.Errorf("%q", log)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		domain string
		mode   table.Mode
		want   string
	}{
		{"example", table.ReadOnly, "unsupported dictionary type: nis"},
		{"", table.ReadWrite, "nis:x map requires O_RDONLY access mode"},
	} {
		set(t, c.domain)
		h := table.Open("nis:x", table.Options{Command: true, Mode: c.mode})
		if h.Err() == nil || h.Err().Error() != c.want {
			t.Errorf("%v", h.Err())
		}
		h.Close()
	}
}
