package simple

import (
	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

// debug logs every request to another table.
type debug struct {
	inner *table.Handle
	name  string
}

func openDebug(typ, name string, o table.Options) (table.Table, error) {
	inner := table.Open(name, o.Inner())
	if err := inner.Err(); err != nil {
		if closeErr := inner.Close(); closeErr != nil {
			return nil, closeErr
		}
		return nil, err
	}
	return &debug{inner: inner, name: typ + ":" + name}, nil
}

func (t *debug) Name() string                 { return t.name }
func (t *debug) Fixed() bool                  { return t.inner.Fixed() }
func (t *debug) Changed() bool                { return t.inner.Changed() }
func (t *debug) Close() error                 { return t.inner.Close() }
func (t *debug) Owner() (uid int, known bool) { return t.inner.Owner() }
func (t *debug) Flags() table.Flags           { return t.inner.Flags() }

func (t *debug) Lookup(key string) (string, bool, error) {
	value, found, err := t.inner.Lookup(key)
	switch {
	case err != nil:
		maillog.Infof("%s lookup: \"%s\" = error", t.inner.Name(), key)
	case !found:
		maillog.Infof("%s lookup: \"%s\" = not_found", t.inner.Name(), key)
	default:
		maillog.Infof("%s lookup: \"%s\" = \"%s\"", t.inner.Name(), key, value)
	}
	return value, found, err
}

func (t *debug) Update(key, value string) error {
	err := t.inner.Update(key, value)
	maillog.Infof("%s update: \"%s\" = \"%s\": %s", t.inner.Name(), key, value, outcome(true, err))
	return err
}

func (t *debug) Delete(key string) (bool, error) {
	found, err := t.inner.Delete(key)
	maillog.Infof("%s delete: \"%s\": %s", t.inner.Name(), key, outcome(found, err))
	return found, err
}

func outcome(done bool, err error) string {
	switch {
	case err != nil:
		return "error"
	case !done:
		return "failed"
	}
	return "success"
}

// Cursor lists the inner table.
func (t *debug) Cursor() (table.Cursor, error) {
	c, err := t.inner.Cursor()
	if err != nil {
		return nil, err
	}
	return &debugCursor{c, t.inner.Name()}, nil
}

type debugCursor struct {
	table.Cursor
	name string
}

func (c *debugCursor) Next() (key, value string, ok bool, err error) {
	key, value, ok, err = c.Cursor.Next()
	switch {
	case err != nil:
		maillog.Infof("%s sequence: error", c.name)
	case !ok:
		maillog.Infof("%s sequence: found EOF", c.name)
	default:
		maillog.Infof("%s sequence: \"%s\" = \"%s\"", c.name, key, value)
	}
	return key, value, ok, err
}
