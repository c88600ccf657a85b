package pebble

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// makeBlock encodes entries, each with restart of its own or with the key that
// is shared with the one before.
func makeBlock(everyRestart bool, entries ...[2]string) []byte {
	var data, places []byte
	n, before := uint32(0), ""
	for i, e := range entries {
		shared := 0
		if everyRestart || i == 0 {
			places = binary.LittleEndian.AppendUint32(places, uint32(len(data)))
			n++
		} else {
			for shared < len(before) && shared < len(e[0]) && before[shared] == e[0][shared] {
				shared++
			}
		}
		data = binary.AppendUvarint(data, uint64(shared))
		data = binary.AppendUvarint(data, uint64(len(e[0])-shared))
		data = binary.AppendUvarint(data, uint64(len(e[1])))
		data = append(append(data, e[0][shared:]...), e[1]...)
		before = e[0]
	}
	return binary.LittleEndian.AppendUint32(append(data, places...), n)
}

// plain ends a key as one with a value.
const plain = "\x01\x00\x00\x00\x00\x00\x00\x00"

// Damaged blocks are told or give wrong answers; reading ends in any case.
func FuzzBlock(f *testing.F) {
	f.Add(makeBlock(false, [2]string{"alice" + plain, "1"}, [2]string{"alright" + plain, "2"}, [2]string{"bob" + plain, "3"}), "alright")
	f.Add(makeBlock(true, [2]string{"a" + plain, "1"}, [2]string{"b" + plain, ""}), "b")
	f.Add(makeBlock(false), "")
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, "x")
	f.Add([]byte{0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 0, 0, 0}, "x")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		b, err := newBlock(data)
		if err != nil {
			return
		}
		if value, found, err := b.lookup([]byte(key)); found && err == nil && len(value) > len(data) {
			t.Error("a value from nowhere")
		}
		b.find(key)
		for i := range b.restarts {
			if _, _, err := b.restartEntry(i); err != nil {
				break
			}
		}
		var last []byte
		for pos, n := 0, 0; pos < len(b.entries); n++ {
			var next int
			if last, _, next, err = b.entry(pos, last); err != nil {
				break
			}
			if next <= pos || n > len(data) {
				t.Fatal("no progress")
			}
			pos = next
		}
	})
}

// makeTable encodes a table whose only data block is as given, with right
// checksums: what is wrong with it is found by reading.
func makeTable(block, separator []byte) []byte {
	var file []byte
	add := func(data []byte) []byte {
		h := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(file))), uint64(len(data)))
		data = append(append([]byte{}, data...), 0)
		sum := crc32.Checksum(data, castagnoli)
		file = binary.LittleEndian.AppendUint32(append(file, data...), (sum>>15|sum<<17)+0xa282ead8)
		return h
	}
	data := add(block)
	index := add(makeBlock(true, [2]string{string(separator) + plain, string(data)}))
	properties := add(makeBlock(true, [2]string{comparer, byteOrder}))
	meta := add(makeBlock(true, [2]string{propertiesName, string(properties)}))
	footer := append([]byte{crc32c}, append(meta, index...)...)
	footer = append(footer, make([]byte, footerSize-len(footer))...)
	binary.LittleEndian.PutUint32(footer[footerSize-12:], version)
	copy(footer[footerSize-8:], magic)
	return append(file, footer...)
}

// FuzzContent reads tables with any data block behind a right checksum.
func FuzzContent(f *testing.F) {
	f.Add(makeBlock(false, [2]string{"alice" + plain, "1"}, [2]string{"bob" + plain, "3"}), []byte("c"), "bob")
	f.Add(makeBlock(true), []byte(""), "")
	f.Fuzz(func(t *testing.T, block, separator []byte, key string) {
		im, err := parse(makeTable(block, separator))
		if err != nil {
			t.Fatal(err)
		}
		im.lookup([]byte(key))
		s := scanner{im: im}
		for n := 0; ; n++ {
			if _, _, ok, err := s.Next(); !ok || err != nil {
				break
			}
			if n > len(block) {
				t.Fatal("no end")
			}
		}
	})
}

// FuzzTable reads damaged files.
func FuzzTable(f *testing.F) {
	data := makeTable(makeBlock(false, [2]string{"alice" + plain, "1"}, [2]string{"bob" + plain, "3"}), []byte("c"))
	f.Add(data, "bob")
	f.Add(data[len(data)/2:], "bob")
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		im, err := parse(data)
		if err != nil {
			return
		}
		im.lookup([]byte(key))
		s := scanner{im: im}
		for n := 0; n <= len(data); n++ {
			if _, _, ok, err := s.Next(); !ok || err != nil {
				return
			}
		}
	})
}

func TestMadeTable(t *testing.T) {
	im, err := parse(makeTable(makeBlock(false, [2]string{"alice" + plain, "1"}, [2]string{"alright" + plain, "2"}), []byte("b")))
	if err != nil {
		t.Fatal(err)
	}
	if value, found, err := im.lookup([]byte("alright")); string(value) != "2" || !found || err != nil {
		t.Error(value, found, err)
	}
	if _, found, err := im.lookup([]byte("c")); found || err != nil {
		t.Error(found, err)
	}
}
