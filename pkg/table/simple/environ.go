package simple

import (
	"os"

	"suffix/pkg/table"
)

// environ: the environment of the process.
type environ struct {
	base
	table.Trusted
}

func openEnviron(typ, name string, o table.Options) (table.Table, error) {
	return &environ{base: base{typ + ":" + name}}, nil
}

func (t *environ) Fixed() bool { return true }

func (t *environ) Lookup(key string) (string, bool, error) {
	value, found := os.LookupEnv(key)
	return value, found, nil
}

// Update sets a variable of this process.
func (t *environ) Update(key, value string) error {
	if err := os.Setenv(key, value); err != nil {
		return &table.Error{Err: err}
	}
	return nil
}

// Delete is not supported by Postfix; it reports so.
func (t *environ) Delete(string) (bool, error) {
	return false, &table.NotSupportedError{Table: t.name, Operation: "delete"}
}

// fail: every operation has a temporary error.
type fail struct {
	base
	table.Trusted
}

func openFail(typ, name string, o table.Options) (table.Table, error) {
	return &fail{base: base{typ + ":" + name}}, nil
}

func (t *fail) Fixed() bool                         { return false }
func (t *fail) Lookup(string) (string, bool, error) { return "", false, &table.Error{} }
func (t *fail) Update(string, string) error         { return &table.Error{} }
func (t *fail) Delete(string) (bool, error)         { return false, &table.Error{} }

// Cursor returns one that fails.
func (t *fail) Cursor() (table.Cursor, error) { return failCursor{}, nil }

type failCursor struct{}

func (failCursor) Next() (key, value string, ok bool, err error) {
	return "", "", false, &table.Error{}
}
