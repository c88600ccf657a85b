package tlsmgr

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

const keyNameSize = 16

// A ticketKey encrypts session tickets (spec screen §18.2).
type ticketKey struct {
	name      [keyNameSize]byte
	aes, hmac [32]byte
	expires   time.Time // as an encryption key
}

// encode returns the 88 bytes that peers exchange.
func (k *ticketKey) encode() []byte {
	b := append([]byte(nil), k.name[:]...)
	b = append(b, k.aes[:]...)
	b = append(b, k.hmac[:]...)
	return binary.NativeEndian.AppendUint64(b, uint64(k.expires.Unix()))
}

// ticketKeys are the key in use and the one before it, with which tickets can
// still be read.
type ticketKeys struct {
	life time.Duration // as encryption key; as long again for decryption

	mu                sync.Mutex
	current, previous *ticketKey
}

func newTicketKeys(timeout time.Duration) *ticketKeys { return &ticketKeys{life: timeout / 2} }

// find returns the key with a name, or without a name the one to encrypt with,
// which is made anew when the last one is too old. It is nil when there is none.
func (t *ticketKeys) find(name []byte, now time.Time) (*ticketKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(name) > 0 {
		for _, k := range []*ticketKey{t.current, t.previous} {
			if k != nil && bytes.Equal(k.name[:], name) && k.expires.Add(t.life).After(now) {
				return k, nil
			}
		}
		return nil, nil
	}
	if t.life <= 0 {
		return nil, nil
	}
	if t.current != nil && t.current.expires.After(now) {
		return t.current, nil
	}
	k := &ticketKey{expires: now.Add(t.life - time.Second)}
	for _, part := range [][]byte{k.name[:], k.aes[:], k.hmac[:]} {
		if _, err := rand.Read(part); err != nil {
			return nil, err
		}
	}
	t.previous, t.current = t.current, k
	return k, nil
}
