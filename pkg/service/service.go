// Package service is the frame in which every daemon runs: the command line
// that master gives it, the descriptors it inherits, loss of privileges,
// acceptance of clients, and the end after enough work or idleness
// (spec master §4, §6).
//
// Under a foreign master a daemon behaves as Postfix's own do: a Single daemon
// serves one client at a time, reports taken and available around it, and
// master makes as many processes as it takes. Our master sets
// SUFFIX_SESSION_LIMIT in the environment: then one process serves that many
// clients at once, each in a goroutine, and reports when it is full, when it has
// room again, and when it retires (State).
//
// A panic in one session ends that session with a log line; the process lives
// on, unless it happens more than three times in a minute.
package service

import (
	"context"

	"suffix/pkg/attr"
	"suffix/pkg/config"
)

// A Kind says how clients reach a daemon.
type Kind int

const (
	Single   Kind = iota // one client after the other, a process each under a foreign master
	Multi                // many clients at once, each with many requests
	Event                // the same, with a protocol of its own; sessions outlive a reload
	Trigger              // wakeup calls of a few bytes
	Datagram             // datagrams
)

// A Limit is the process limit that a daemon needs in master.cf.
type Limit int

const (
	AnyLimit  Limit = iota
	LimitOne        // one process: it owns something
	LimitZero       // no limit: others wait for it while they are served themselves
)

// A Daemon describes a program to the frame. Functions that do not apply to
// its kind are nil.
type Daemon struct {
	Program    string
	Kind       Kind
	Limit      Limit
	Privileged bool // refuses the unprivileged flag: needs root
	Arguments  bool // takes words behind the options (pipe, spawn)
	Flow       bool // takes a flow control token for each connection
	NoMaxUse   bool // ignores max_use
	NoMaxIdle  bool // ignores max_idle
	Retires    bool // ends after max_idle × max_use seconds, or -r, even when busy

	// Setup reads parameters and opens what needs root or the world outside
	// of the chroot jail. The working directory is the queue directory.
	Setup func(p *Process) error
	// Ready comes after the loss of privileges, before the first client.
	Ready func(p *Process) error
	// Serve talks with one client, in its own goroutine, and returns when
	// done; the frame closes the connection.
	Serve func(ctx context.Context, p *Process, c *Conn)
	// Trigger does what a wakeup asks: each byte is one request code.
	Trigger func(ctx context.Context, p *Process, request []byte)
	// Datagram handles one packet, which is valid until it returns.
	Datagram func(p *Process, packet []byte)
	// Packets is used instead of Datagram where there are several at hand: a
	// daemon that can handle them together makes fewer system calls.
	Packets func(p *Process, packets [][]byte)
	// Loop is used instead of Trigger by a daemon with a timer loop of its own.
	// When ctx ends it finishes the work at hand and returns nil.
	Loop func(ctx context.Context, p *Process, triggers <-chan []byte) error
	// Drain is called when the process stops accepting clients while it
	// still has some: it gives up what its successor needs.
	Drain func(p *Process)
	// Exit is called before a voluntary exit.
	Exit func(p *Process)
}

// A Conn is a connected client.
type Conn struct {
	*attr.Conn // in the Null form, with ipc_timeout on every operation

	// Pass holds the attributes of a connection that another daemon
	// accepted and handed over (client_address and so on); nil for others.
	Pass map[string]string

	stream *stream
}

// A Process is the running daemon.
type Process struct {
	Config     *config.Main
	Program    string   // name of the program in log lines
	Service    string   // name in master.cf
	Transport  string   // inet, unix, pass, fifo, unix-dgram; "" when stand-alone
	Args       []string // words behind the options
	Standalone bool     // one session on standard input and output (-S)

	// SessionLimit is how many clients may be served at once, 0 for no limit.
	// It is 1 under a foreign master for the Single kind.
	SessionLimit int

	// NoMaxUse and NoMaxIdle begin as the Daemon's, for Setup to change.
	NoMaxUse, NoMaxIdle bool

	options    *options
	slots      int // process limit in master.cf, 0 for none
	generation uint32
	ours       bool // our master is the parent
	watches    []func() (string, bool)
	inside     map[string]bool // services that may be answered in-process
	server     *server
	master     *channel
}
