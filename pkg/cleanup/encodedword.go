package cleanup

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Characters that must be encoded in a phrase and in a comment (RFC 2047),
// besides controls and what is not ASCII.
const (
	standardSpecials = "()<>@,;:\\\".[]#$%&'^`{|}~=?_"
	obsoleteSpecials = "()\\=?_"
)

const (
	maxWord   = 75 // length of an encoded word
	minBase64 = 20 // shorter names are always encoded with Q
)

const hexDigits = "0123456789ABCDEF"

// encodeWords returns text as encoded words.
func encodeWords(text, charset, specials string) []string {
	encoded := 0
	for i := 0; i < len(text); i++ {
		if mustEncode(text[i], specials) {
			encoded++
		}
	}
	head := "=?" + charset + "?"
	room := max(maxWord-len(head)-len("Q?")-len("?="), 16)
	b64 := len(text) >= minBase64 && 2*encoded >= len(text)
	var words []string
	var word strings.Builder
	raw := 0
	start := 0
	flush := func(end int) {
		if b64 {
			words = append(words, head+"B?"+base64.StdEncoding.EncodeToString([]byte(text[start:end]))+"?=")
		} else {
			words = append(words, head+"Q?"+word.String()+"?=")
		}
		word.Reset()
		raw, start = 0, end
	}
	for i := 0; i < len(text); {
		// A character is never split between words.
		_, size := utf8.DecodeRuneInString(text[i:])
		var piece strings.Builder
		for j := i; j < i+size; j++ {
			switch c := text[j]; {
			case c == ' ':
				piece.WriteByte('_')
			case mustEncode(c, specials):
				piece.Write([]byte{'=', hexDigits[c>>4], hexDigits[c&15]})
			default:
				piece.WriteByte(c)
			}
		}
		if b64 && raw > 0 && base64.StdEncoding.EncodedLen(raw+size) > room || !b64 && word.Len() > 0 && word.Len()+piece.Len() > room {
			flush(i)
		}
		word.WriteString(piece.String())
		raw += size
		i += size
	}
	flush(len(text))
	return words
}

func mustEncode(c byte, specials string) bool {
	return c < ' ' || c > '~' || strings.IndexByte(specials, c) >= 0
}
