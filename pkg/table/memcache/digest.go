package memcache

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
)

// A digest shortens keys, and makes them safe for the protocol.
type digest func(text string) []byte

// digests has the algorithms that key_digest can name, as OpenSSL names them.
// It guards against nothing: an old algorithm is as good as a new one.
var digests = map[string]digest{
	"md5":        func(s string) []byte { d := md5.Sum([]byte(s)); return d[:] },
	"sha1":       func(s string) []byte { d := sha1.Sum([]byte(s)); return d[:] },
	"sha224":     func(s string) []byte { d := sha256.Sum224([]byte(s)); return d[:] },
	"sha256":     func(s string) []byte { d := sha256.Sum256([]byte(s)); return d[:] },
	"sha384":     func(s string) []byte { d := sha512.Sum384([]byte(s)); return d[:] },
	"sha512":     func(s string) []byte { d := sha512.Sum512([]byte(s)); return d[:] },
	"sha512-224": func(s string) []byte { d := sha512.Sum512_224([]byte(s)); return d[:] },
	"sha512-256": func(s string) []byte { d := sha512.Sum512_256([]byte(s)); return d[:] },
	"sha3-224":   func(s string) []byte { d := sha3.Sum224([]byte(s)); return d[:] },
	"sha3-256":   func(s string) []byte { d := sha3.Sum256([]byte(s)); return d[:] },
	"sha3-384":   func(s string) []byte { d := sha3.Sum384([]byte(s)); return d[:] },
	"sha3-512":   func(s string) []byte { d := sha3.Sum512([]byte(s)); return d[:] },
}
