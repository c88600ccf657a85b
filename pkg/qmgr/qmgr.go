// Package qmgr is the engine of the queue manager: it takes messages from the
// incoming and deferred queues into the active queue, and has them delivered
// (spec qmgr).
//
// One goroutine owns all tables; it runs Manager.Run and never waits for
// anything but its events. Whatever takes time — reading queue files, resolving
// addresses, talking to delivery agents, sending notices — is done by other
// goroutines, which post what they found as a function for the owner to run.
//
// The objects, each in the file of its name:
//
//	scan       one walk through a queue directory
//	message    one message in the active queue
//	transport  one delivery service
//	queue      one destination of a transport
//	job        the part of a message that goes to one transport
//	peer       the part of a job that goes to one queue
//	entry      one delivery request: recipients of a peer, sent to an agent
package qmgr

import (
	"context"
	"fmt"
	"time"

	"suffix/pkg/bounceclient"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
	"suffix/pkg/outcome"
	"suffix/pkg/queue"
	"suffix/pkg/rewriteclient"
)

// A Resolver finds the destination of an address: *rewriteclient.Client.
type Resolver interface {
	Rewrite(ctx context.Context, rule rewriteclient.Rule, address string) (string, error)
	Resolve(ctx context.Context, sender, address string) (rewriteclient.Reply, error)
	VerifyResolve(ctx context.Context, sender, address string) (rewriteclient.Reply, error)
}

// Flow is the pipe of tokens that slows down those who bring mail in:
// *service.Process.
type Flow interface {
	FlowPending() int // tokens in the pipe
	FlowPut(n int)
	FlowTake(n int)
}

// A Manager is the queue manager of one mail system. Its fields belong to the
// goroutine of Run, except those that never change.
type Manager struct {
	settings  settings
	conf      *config.Main
	extension maps.Extension
	tree      *queue.Tree
	resolver  Resolver
	recorder  *outcome.Recorder
	bounces   *bounceclient.Client
	flow      Flow
	log       *maillog.Logger

	ctx    context.Context
	events chan func()
	failed error // ends Run

	incoming, deferred *scan
	first              *scan // where the next message is looked for first

	messages  map[string]*message // the active queue
	arriving  map[string]bool     // messages that are being read for the first time
	rcptCount int                 // recipients in memory, and room for those being read
	probes    int                 // messages that are address verification probes
	fed       int                 // messages from incoming since the last look at the tokens

	transports     map[string]*transport
	transportOrder list[transport] // round robin
	queueCount     int
}

// Options of New. Config is required.
type Options struct {
	Config   *config.Main
	Resolver Resolver        // nil: the rewrite service
	Flow     Flow            // nil: no flow control
	Log      *maillog.Logger // nil: that of the program
}

// New makes a Manager. The error is about a bad setting.
func New(o Options) (*Manager, error) {
	log := o.Log
	if log == nil {
		log = maillog.Default()
	}
	m := &Manager{
		settings:   readSettings(o.Config, log),
		conf:       o.Config,
		extension:  maps.ExtensionFrom(o.Config),
		tree:       queue.New(o.Config, log.Warnf),
		resolver:   o.Resolver,
		recorder:   outcome.New(o.Config, "", nil).WithLog(log),
		bounces:    bounceclient.New(o.Config),
		flow:       o.Flow,
		log:        log,
		events:     make(chan func(), 256),
		messages:   make(map[string]*message),
		arriving:   make(map[string]bool),
		transports: make(map[string]*transport),
	}
	if m.resolver == nil {
		m.resolver = rewriteclient.New(o.Config)
	}
	m.bounces.Timeout = reportTimeout
	m.incoming = newScan(m, queue.Incoming)
	m.deferred = newScan(m, queue.Deferred)
	m.first = m.incoming
	return m, o.Config.Err()
}

// reportTimeout bounds each step of a conversation with the bounce, defer and
// trace services.
const reportTimeout = 1000 * time.Second

// Run manages the queue until ctx ends; then it returns nil, and deliveries
// that the agents are at will be noticed by the next Manager. Triggers are
// bytes as a trigger service receives them. An error is fatal.
func (m *Manager) Run(ctx context.Context, triggers <-chan []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.ctx = ctx
	if err := m.restart(); err != nil {
		return err
	}
	m.incoming.request(scanStart)
	m.deferred.request(scanStart)
	timer := time.NewTicker(m.settings.queueRunDelay)
	defer timer.Stop()
	for m.failed == nil && ctx.Err() == nil {
		m.startDeliveries()
		m.feed()
		if m.fed >= flowBatch || len(m.events) == 0 {
			m.regulate()
		}
		select {
		case event := <-m.events:
			event()
			for range min(len(m.events), maxEvents) {
				event = <-m.events
				event()
			}
		case request := <-triggers:
			m.trigger(request)
		case <-timer.C:
			m.deferred.request(scanStart)
		case <-ctx.Done():
			return nil
		}
	}
	return m.failed
}

// maxEvents bounds how many events are handled between two rounds of feeding
// and starting deliveries.
const maxEvents = 64

// post hands a function to the owner of the tables. It waits while the owner
// has enough to do, and drops the function when the Manager ends.
func (m *Manager) post(event func()) {
	select {
	case m.events <- event:
	case <-m.ctx.Done():
	}
}

// after has the owner run a function later.
func (m *Manager) after(delay time.Duration, event func()) *time.Timer {
	return time.AfterFunc(delay, func() { m.post(event) })
}

// fail ends Run with an error that nobody here can handle.
func (m *Manager) fail(format string, args ...any) {
	if m.failed == nil {
		m.failed = fmt.Errorf(format, args...)
	}
}
