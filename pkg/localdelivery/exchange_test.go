package localdelivery

import (
	"context"
	"fmt"
	"net"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/deliver"
	"suffix/pkg/service"
)

// exchange plays the queue manager's part of a delivery.
func exchange(agent *deliver.Agent, r *deliver.Request) (deliver.Reply, error) {
	a, b := net.Pipe()
	defer a.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		agent.Serve(context.Background(), nil, &service.Conn{Conn: attr.NewConn(b, attr.Null, "local socket", time.Minute)})
	}()
	c := attr.NewConn(a, attr.Null, "private/local socket", time.Minute)
	if err := c.R.Protocol(deliver.Protocol); err != nil {
		return deliver.Reply{}, err
	}
	if err := c.R.End(); err != nil {
		return deliver.Reply{}, err
	}
	r.Put(c.W, false)
	if err := c.W.Flush(); err != nil {
		return deliver.Reply{}, err
	}
	reply, err := deliver.ReadReply(c.R)
	if err != nil {
		return reply, fmt.Errorf("reply of the agent: %w", err)
	}
	a.Close()
	<-done
	return reply, nil
}
