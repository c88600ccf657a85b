package socketmap

import (
	"bytes"
	"errors"
	"io"
	"strconv"
)

// What can be wrong with a netstring, in Postfix's words.
var (
	errFormat = errors.New("input format error")
	errSize   = errors.New("input exceeds size limit")
)

// appendNetstring appends "LENGTH:TEXT,".
func appendNetstring(b []byte, text string) []byte {
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, ':')
	b = append(b, text...)
	return append(b, ',')
}

// readNetstring reads a netstring of at most limit bytes. Memory grows with
// what arrives, not with the length that is announced.
func readNetstring(r byteReader, limit int) (string, error) {
	length := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if c == ':' && digits > 0 {
			break
		}
		if c < '0' || c > '9' {
			return "", errFormat
		}
		if digits == maxDigits {
			return "", errSize
		}
		if length = length*10 + int(c-'0'); length > limit {
			return "", errSize
		}
	}
	var text bytes.Buffer
	if _, err := io.CopyN(&text, r, int64(length)); err != nil {
		return "", err
	}
	c, err := r.ReadByte()
	if err != nil {
		return "", err
	}
	if c != ',' {
		return "", errFormat
	}
	return text.String(), nil
}

// maxDigits bounds leading zeros.
const maxDigits = 20
