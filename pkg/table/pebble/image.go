package pebble

import "os"

// A File is a table as it lies on disk, for the package that changes it. Keys
// and values are passed on as they are stored.
type File struct{ r reader }

// OpenFile opens a table file. The File has f from then on.
func OpenFile(f *os.File) (*File, error) {
	t := &File{reader{path: f.Name(), quiet: true, f: f}}
	return t, t.r.load()
}

// Lookup finds the value of a key.
func (t *File) Lookup(key string) (value string, found bool, err error) {
	err = t.r.access(func(im *image) error {
		v, ok, err := im.lookup([]byte(key))
		value, found = string(v), ok
		return err
	})
	return value, found, err
}

// Scan returns a function that yields the entries in key order; ok is false
// after the last one. The slices are valid until the next call.
func (t *File) Scan() func() (key, value []byte, ok bool, err error) {
	var s scanner
	return func() (key, value []byte, ok bool, err error) {
		err = t.r.access(func(im *image) (err error) {
			s.im = im
			key, value, ok, err = s.Next()
			return err
		})
		return key, value, ok, err
	}
}

// Close ends the use of the file.
func (t *File) Close() error { return t.r.Close() }
