// Package socketmap has the table type socketmap: a server that answers
// "NAME KEY" with a status and a value, each message one netstring
// (socketmap_table(5), spec tables §11.4).
package socketmap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/endpoint"
)

func init() { table.Register("socketmap", table.Type{Open: open}) }

// Limits of Postfix, not configurable. Tests shorten the first.
var timeout = 100 * time.Second // of connecting, and of one request

const (
	idle = 10 * time.Second  // an unused connection is closed
	ttl  = 100 * time.Second // so is one that is older than this
)

// pools are the connections of this process, by server: all maps of a server
// share them.
var (
	mu    sync.Mutex
	pools = make(map[string]*endpoint.Pool)
)

type socketmap struct {
	name     string // "server:map", as messages have it
	mapName  string
	pool     *endpoint.Pool
	maxQuery int
	maxReply int
	old      bool // Postfix 3.7
}

func open(typ, name string, o table.Options) (table.Table, error) {
	switch {
	case o.Mode != table.ReadOnly:
		return nil, fmt.Errorf("%s:%s map requires O_RDONLY access mode", typ, name)
	case o.Flags&table.NoUnauth != 0:
		return nil, fmt.Errorf("%s:%s map is not allowed for security-sensitive data", typ, name)
	}
	at := strings.LastIndexByte(name, ':')
	if at < 0 {
		return nil, errors.New("socketmap requires server:socketmap argument")
	}
	t := &socketmap{name: name, mapName: name[at+1:], old: o.Dialect37(), maxQuery: 10000, maxReply: 100000}
	if o.Config != nil {
		t.maxQuery, t.maxReply = o.Config.Int(params.SocketmapMaxQuerySize), o.Config.Int(params.SocketmapMaxReplySize)
	}
	server := name[:at]
	e, err := endpoint.Parse(server, o.Config)
	if err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	if t.pool = pools[server]; t.pool == nil {
		t.pool = &endpoint.Pool{Endpoint: e, Timeout: timeout, Idle: idle, TTL: ttl}
		pools[server] = t.pool
	}
	t.pool.Open()
	return t, nil
}

func (t *socketmap) Name() string  { return "socketmap:" + t.name }
func (t *socketmap) Fixed() bool   { return false }
func (t *socketmap) Changed() bool { return false }
func (t *socketmap) Close() error  { return t.pool.Close() }

// Lookup asks the server.
func (t *socketmap) Lookup(key string) (value string, found bool, err error) {
	if strings.IndexByte(key, 0) >= 0 {
		return "", false, nil
	}
	if len(key) > t.maxQuery {
		maillog.Warnf("table socketmap:%s query too large: '%.100s', returning 'not found'", t.name, key)
		return "", false, nil
	}
	reply, err := t.ask(t.mapName + " " + key)
	if err != nil {
		return "", false, err
	}
	status, text, more := strings.Cut(reply, " ")
	text, _, _ = strings.Cut(text, "\x00")
	switch status {
	case "OK":
		return text, more || !t.old, nil
	case "NOTFOUND":
		return "", false, nil
	case "TEMP":
		return "", false, t.refused("temporary", text, false)
	case "TIMEOUT":
		return "", false, t.refused("timeout", text, false)
	case "PERM":
		return "", false, t.refused("permanent", text, true)
	}
	return "", false, t.refused("unknown", text, false)
}

// refused is the outcome of a request that the server has not served.
func (t *socketmap) refused(kind, why string, isConfig bool) error {
	if why != "" {
		why = ": " + why
	}
	maillog.Warnf("socketmap:%s socketmap server %s error%s", t.name, kind, why)
	if isConfig {
		return &table.Error{Config: true}
	}
	return &table.Error{Err: t.pool.Residue()}
}

// ask makes one request. When the connection is lost it is made once more,
// without a word.
func (t *socketmap) ask(request string) (reply string, err error) {
	for try := 0; ; try++ {
		get := t.pool.Get
		if try > 0 {
			get = t.pool.Dial
		}
		conn, err := get()
		if err != nil {
			maillog.Warnf("connect to %s: %s", t.pool, syserr.Text(err))
			return "", t.failed(syserr.Text(err), err)
		}
		reply, err := talk(conn, request, t.maxReply)
		if err == nil {
			t.pool.Put(conn)
			return reply, nil
		}
		conn.Close()
		switch {
		case errors.Is(err, errFormat), errors.Is(err, errSize):
			return "", t.failed(err.Error(), t.pool.Residue())
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "", t.failed("time limit exceeded", syscall.ETIMEDOUT)
		case try > 0:
			return "", t.failed("unexpected disconnect", t.pool.Residue())
		}
	}
}

func (t *socketmap) failed(why string, cause error) error {
	maillog.Warnf("table socketmap:%s lookup error: %s", t.name, why)
	return &table.Error{Err: cause}
}

// talk sends one netstring and reads another.
func talk(conn *endpoint.Conn, request string, maxReply int) (reply string, err error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := conn.Write(appendNetstring(nil, request)); err != nil {
		return "", err
	}
	return readNetstring(conn, maxReply)
}

// byteReader is a buffered stream.
type byteReader interface {
	io.Reader
	io.ByteReader
}
