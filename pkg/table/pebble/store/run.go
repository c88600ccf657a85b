package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
)

// What an entry does to one with the same key that came before.
const (
	add     = iota // nothing: it is the one too many
	replace        // takes its place
	remove         // removes it
)

// entry is a change that waits to be written.
type entry struct {
	value string
	kind  byte
}

// overhead is what an entry costs in memory besides its text, in bytes: the
// map's slot and the headers of two strings.
const overhead = 112

// A run is a sorted sequence of entries, in a file without a name. Those that
// do not fit in memory wait there.
type run struct{ f *os.File }

// newRun writes entries to a file in dir.
func newRun(dir string, entries map[string]entry) (*run, error) {
	f, err := os.CreateTemp(dir, ".sst-sort-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	w := bufio.NewWriterSize(f, 256<<10)
	var number [2*binary.MaxVarintLen64 + 1]byte
	for _, key := range sortedKeys(entries) {
		e := entries[key]
		head := append(number[:0], e.kind)
		head = binary.AppendUvarint(head, uint64(len(key)))
		head = binary.AppendUvarint(head, uint64(len(e.value)))
		w.Write(head)
		w.WriteString(key)
		w.WriteString(e.value)
	}
	if err := w.Flush(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &run{f}, nil
}

func sortedKeys(entries map[string]entry) []string {
	keys := make([]string, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// item is an entry with its key.
type item struct {
	key string
	entry
}

// A source yields items in the order of keys; ok is false after the last one.
type source func() (i item, ok bool, err error)

// source reads the run from its start.
func (r *run) source() (source, error) {
	if _, err := r.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(r.f, 256<<10)
	var text []byte
	return func() (i item, ok bool, err error) {
		if i.kind, err = in.ReadByte(); err == io.EOF {
			return i, false, nil
		}
		var size [2]uint64
		for n := range size {
			if err == nil {
				size[n], err = binary.ReadUvarint(in)
			}
		}
		if err != nil {
			return i, false, err
		}
		// We have written these lengths ourselves.
		text = slices.Grow(text[:0], int(size[0]+size[1]))[:size[0]+size[1]]
		if _, err = io.ReadFull(in, text); err != nil {
			return i, false, err
		}
		i.key, i.value = string(text[:size[0]]), string(text[size[0]:])
		return i, true, nil
	}, nil
}

func inMemory(entries map[string]entry) source {
	keys := sortedKeys(entries)
	return func() (i item, ok bool, err error) {
		if len(keys) == 0 {
			return i, false, nil
		}
		key := keys[0]
		keys = keys[1:]
		return item{key, entries[key]}, true, nil
	}
}

// merge calls emit with the item of each key that remains, in order. Among the
// sources a later one has the newer entries. duplicate hears of entries that
// are one too many.
func merge(sources []source, duplicate func(key string) error, emit func(key, value string) error) error {
	heads := make([]item, len(sources))
	live := make([]bool, len(sources))
	advance := func(n int) (err error) {
		heads[n], live[n], err = sources[n]()
		return err
	}
	for n := range sources {
		if err := advance(n); err != nil {
			return err
		}
	}
	for {
		first := -1
		for n := range heads {
			if live[n] && (first < 0 || heads[n].key < heads[first].key) {
				first = n
			}
		}
		if first < 0 {
			return nil
		}
		key, value, there := heads[first].key, "", false
		for n := first; n < len(heads); n++ {
			if !live[n] || heads[n].key != key {
				continue
			}
			switch e := heads[n].entry; {
			case e.kind == remove:
				there = false
			case e.kind == add && there:
				if err := duplicate(key); err != nil {
					return err
				}
			default:
				value, there = e.value, true
			}
			if err := advance(n); err != nil {
				return err
			}
		}
		if there {
			if err := emit(key, value); err != nil {
				return err
			}
		}
	}
}
