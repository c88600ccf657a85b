package alltables

import (
	"slices"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/typenames"
)

// The one list of names says what is registered, here or through proxymap.
func TestTypeNames(t *testing.T) {
	registered := table.Types()
	slices.Sort(registered)
	if want := typenames.All(); !slices.Equal(registered, want) {
		t.Errorf("registered: %q, listed: %q", registered, want)
	}
}
