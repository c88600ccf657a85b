package mongodb

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// A server is what one URI names. All tables with this URI share its
// connections, which the library keeps and closes.
type server struct {
	uri   string
	users int // guarded by mu

	clientMu sync.Mutex
	client   *mongo.Client
}

var (
	mu     sync.Mutex
	shared = make(map[string]*server)
)

// share returns the server of a URI.
func share(uri string) *server {
	mu.Lock()
	defer mu.Unlock()
	s := shared[uri]
	if s == nil {
		s = &server{uri: uri}
		shared[uri] = s
	}
	s.users++
	return s
}

// get returns the client, made when it is first needed: it watches the server
// in the background.
func (s *server) get() (client *mongo.Client, err error) {
	s.clientMu.Lock()
	defer s.clientMu.Unlock()
	if s.client == nil {
		if s.client, err = connect(s.uri); err != nil {
			s.client = nil
			return nil, err
		}
	}
	return s.client, nil
}

// close counts one user less; the last one closes the connections.
func (s *server) close() {
	mu.Lock()
	s.users--
	last := s.users == 0
	if last {
		delete(shared, s.uri)
	}
	mu.Unlock()
	s.clientMu.Lock()
	defer s.clientMu.Unlock()
	if !last || s.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// What the server thinks of the end does not matter.
	_ = s.client.Disconnect(ctx)
	s.client = nil
}
