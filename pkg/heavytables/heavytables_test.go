package heavytables

import (
	"testing"

	_ "suffix/pkg/proxymapclient"
	"suffix/pkg/table"
	"suffix/pkg/table/typenames"
)

// The drivers take the place of the clients that ask for them elsewhere.
func TestTypes(t *testing.T) {
	for _, name := range typenames.Heavy {
		if typ, ok := table.LookupType(name); !ok || typ.Remote {
			t.Errorf("%s: registered %v, remote %v", name, ok, typ.Remote)
		}
	}
}
