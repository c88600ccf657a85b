package lint

import (
	"bytes"
	"strings"
	"time"
)

// This file reads the few fields of certificates and keys that tell whether
// they belong together and how long they last. The library's X.509 package
// would do the same, at a cost that each start of postconf would pay.

// A block is one PEM block.
type block struct {
	kind string
	der  []byte
}

func (b *block) isKey() bool         { return strings.HasSuffix(b.kind, "PRIVATE KEY") }
func (b *block) isCertificate() bool { return strings.HasSuffix(b.kind, "CERTIFICATE") }

// maxBlocks bounds the blocks of a file: more than all authorities there are.
const maxBlocks = 10000

// blocksOf takes the keys and certificates out of a file in PEM form (RFC 7468,
// with the headers of RFC 1421 that old tools write).
func blocksOf(text []byte) (blocks []block, encrypted bool) {
	var b block
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.Trim(line, " \t\r\n")
		switch {
		case strings.HasPrefix(line, beginMark) && strings.HasSuffix(line, endDashes):
			b, inside = block{kind: line[len(beginMark):max(len(line)-len(endDashes), len(beginMark))]}, true
		case !inside:
		case strings.HasPrefix(line, endMark):
			inside = false
			if b.kind == "ENCRYPTED PRIVATE KEY" {
				encrypted = true
			}
			if (b.isKey() || b.isCertificate()) && len(blocks) < maxBlocks {
				blocks = append(blocks, b)
			}
		case strings.Contains(line, ":"): // a header
			encrypted = encrypted || b.isKey() && strings.Contains(line, "ENCRYPTED")
		default:
			b.der = appendBase64(b.der, line)
		}
	}
	return blocks, encrypted
}

const (
	beginMark = "-----BEGIN "
	endMark   = "-----END "
	endDashes = "-----"
)

// appendBase64 decodes one line, whose length is a multiple of four unless it
// is the last. The library's decoder would build its tables at each start.
func appendBase64(out []byte, line string) []byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var group uint32
	bits := 0
	for i := 0; i < len(line) && line[i] != '='; i++ {
		digit := strings.IndexByte(alphabet, line[i])
		if digit < 0 {
			continue
		}
		group, bits = group<<6|uint32(digit), bits+6
		if bits >= 8 {
			bits -= 8
			out = append(out, byte(group>>bits))
		}
	}
	return out
}

func hasKey(blocks []block) bool { return firstKey(blocks) != nil }

func firstKey(blocks []block) *block {
	for i := range blocks {
		if blocks[i].isKey() {
			return &blocks[i]
		}
	}
	return nil
}

func firstCertificate(blocks []block) *certificate {
	for i := range blocks {
		if blocks[i].isCertificate() {
			return parseCertificate(blocks[i].der)
		}
	}
	return nil
}

// A certificate is what is of interest here.
type certificate struct {
	notBefore, notAfter time.Time
	algorithm           []byte // of its key: object identifier
	publicKey           []byte // as it stands in the certificate
}

// Tags of DER (X.690 §8).
const (
	tagInteger     = 0x02
	tagBitString   = 0x03
	tagOctetString = 0x04
	tagOID         = 0x06
	tagUTCTime     = 0x17
	tagTime        = 0x18
	tagSequence    = 0x30
	tagContext0    = 0xa0
	tagContext1    = 0xa1
)

// Object identifiers of key algorithms (RFC 3279 §2.3).
var (
	oidRSA = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01}
	oidEC  = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}
)

// A der takes elements off the front of an encoding. After a mistake all
// further elements are empty, and bad is true.
type der struct {
	rest []byte
	bad  bool
}

// peek is the tag of the next element, 0 at the end.
func (d *der) peek() byte {
	if d.bad || len(d.rest) == 0 {
		return 0
	}
	return d.rest[0]
}

// take returns the content of the next element, which must have the tag.
func (d *der) take(tag byte) []byte {
	if d.bad || len(d.rest) < 2 || d.rest[0] != tag {
		d.bad = true
		return nil
	}
	length, head := int(d.rest[1]), 2
	if length >= 0x80 {
		n := length & 0x7f
		if n == 0 || n > 3 || len(d.rest) < 2+n {
			d.bad = true
			return nil
		}
		length = 0
		for _, b := range d.rest[2 : 2+n] {
			length = length<<8 | int(b)
		}
		head += n
	}
	if len(d.rest)-head < length {
		d.bad = true
		return nil
	}
	content := d.rest[head : head+length]
	d.rest = d.rest[head+length:]
	return content
}

// into returns what is inside of the next element.
func (d *der) into(tag byte) *der {
	content := d.take(tag)
	return &der{rest: content, bad: d.bad}
}

// skip passes over the next element, whatever it is.
func (d *der) skip() { d.take(d.peek()) }

// parseCertificate reads a certificate (RFC 5280 §4.1), nil if it is none.
func parseCertificate(text []byte) *certificate {
	d := &der{rest: text}
	body := d.into(tagSequence).into(tagSequence)
	if body.peek() == tagContext0 {
		body.skip() // version
	}
	body.take(tagInteger) // serial number
	body.skip()           // signature algorithm
	body.skip()           // issuer
	validity := body.into(tagSequence)
	body.skip() // subject
	key := body.into(tagSequence)
	c := &certificate{}
	c.algorithm = key.into(tagSequence).take(tagOID)
	bits := key.take(tagBitString)
	if body.bad || key.bad || len(bits) < 1 {
		return nil
	}
	c.publicKey = bits[1:]
	c.notBefore, c.notAfter = validity.time(), validity.time()
	return c
}

func (d *der) time() time.Time {
	layout := "060102150405Z"
	if d.peek() == tagTime {
		layout = "20060102150405Z"
	} else if d.peek() != tagUTCTime {
		d.bad = true
		return time.Time{}
	}
	t, err := time.Parse(layout, string(d.take(d.peek())))
	if err != nil {
		return time.Time{}
	}
	return t
}

// differ tells whether a private key certainly does not belong to a
// certificate. Some keys do not say what their public half is.
func differ(c *certificate, key *block) bool {
	if c == nil || key == nil {
		return false
	}
	algorithm, public := publicHalf(key)
	if algorithm == nil {
		return false
	}
	if !bytes.Equal(algorithm, c.algorithm) {
		return true
	}
	if public == nil {
		return false
	}
	if bytes.Equal(algorithm, oidRSA) {
		modulus := (&der{rest: c.publicKey}).into(tagSequence).take(tagInteger)
		return modulus != nil && !bytes.Equal(modulus, public)
	}
	return !bytes.Equal(c.publicKey, public)
}

// publicHalf returns the algorithm of a private key, and what it says about its
// public half: of RSA the modulus, else the public key. Either may be nil.
func publicHalf(key *block) (algorithm, public []byte) {
	d := &der{rest: key.der}
	switch key.kind {
	case "PRIVATE KEY": // RFC 5208 §5
		body := d.into(tagSequence)
		body.take(tagInteger)
		algorithm = body.into(tagSequence).take(tagOID)
		inner := block{der: body.take(tagOctetString)}
		if body.bad || algorithm == nil {
			return nil, nil
		}
		switch {
		case bytes.Equal(algorithm, oidRSA):
			inner.kind = "RSA PRIVATE KEY"
		case bytes.Equal(algorithm, oidEC):
			inner.kind = "EC PRIVATE KEY"
		default:
			return algorithm, nil
		}
		_, public = publicHalf(&inner)
		return algorithm, public
	case "RSA PRIVATE KEY": // RFC 8017 §A.1.2
		body := d.into(tagSequence)
		body.take(tagInteger)
		return oidRSA, body.take(tagInteger)
	case "EC PRIVATE KEY": // RFC 5915 §3
		body := d.into(tagSequence)
		body.take(tagInteger)
		body.take(tagOctetString)
		if body.peek() == tagContext0 {
			body.skip()
		}
		if body.peek() == tagContext1 {
			if bits := body.into(tagContext1).take(tagBitString); len(bits) > 1 {
				public = bits[1:]
			}
		}
		return oidEC, public
	}
	return nil, nil
}
