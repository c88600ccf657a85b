package pgsql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table/dbcommon"
)

const (
	defaultPort      = "5432"
	defaultDirectory = "/var/run/postgresql" // of sockets
)

// dialer connects to the servers of one table.
type dialer struct{ user, password, dbname, encoding string }

// socketDirectory turns a host item that is a path into a socket's target.
func socketDirectory(t *dbcommon.Target) {
	if t.Kind == dbcommon.TCP && strings.HasPrefix(t.Address, "/") {
		t.Kind = dbcommon.Unix
	}
	if t.Kind == dbcommon.Unix && t.Address == "" {
		t.Address = defaultDirectory
	}
}

// place is where a server is, for the driver and for messages.
type place struct {
	host, port string
	text       string // "server at …"
	unix       bool
}

func placeOf(t *dbcommon.Target) (p place, err error) {
	p.host, p.port = t.Address, defaultPort
	if t.Kind == dbcommon.TCP {
		var port string
		p.host, port, _ = dbcommon.CutPort(t.Address)
		if port != "" {
			n, err := strconv.Atoi(port)
			switch {
			case err != nil:
				return p, fmt.Errorf("invalid integer value \"%s\" for connection option \"port\"\n", port)
			case n < 1 || n > 0xffff:
				return p, fmt.Errorf("invalid port number: \"%s\"\n", port)
			}
			p.port = port
		}
		if p.host == "" {
			p.host = defaultDirectory
		}
	}
	p.describe()
	return p, nil
}

// describe makes the text of a place. A host that is a path, or an abstract
// socket "@…", is a directory.
func (p *place) describe() {
	if p.unix = strings.HasPrefix(p.host, "/") || strings.HasPrefix(p.host, "@"); p.unix {
		p.text = fmt.Sprintf("on socket \"%s/.s.PGSQL.%s\"", p.host, p.port)
		return
	}
	p.text = fmt.Sprintf("at \"%s\"%%s, port %s", p.host, p.port)
}

// named is the text with the address that a host name stands for.
func (p *place) named(address string) string {
	if p.unix {
		return p.text
	}
	if address != "" && address != p.host {
		address = " (" + address + ")"
	} else {
		address = ""
	}
	return fmt.Sprintf(p.text, address)
}

// dial connects to a server and sets the encoding.
func (d *dialer) dial(ctx context.Context, t *dbcommon.Target) (*conn, error) {
	config, p, err := d.config(t)
	if err != nil {
		return nil, err
	}
	config.MaxProtocolMessageBodyLen = maxResult
	raw, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, connectError(ctx, err, p)
	}
	c := &conn{raw}
	literal := strings.ReplaceAll(d.encoding, "'", "''")
	if _, err := c.query(ctx, "SET client_encoding TO '"+literal+"'"); err != nil {
		maillog.Warnf("dict_pgsql: cannot set the encoding to %s, skipping %s", d.encoding, t.Text)
		_ = c.Close() // never used
		return nil, dbcommon.ErrLogged
	}
	return c, nil
}

// config makes the driver's configuration. Like PostgreSQL's own clients it
// takes what is not said here from the environment and the password file.
func (d *dialer) config(t *dbcommon.Target) (config *pgconn.Config, p place, err error) {
	if t.Kind == dbcommon.URI {
		if config, err = pgconn.ParseConfig(t.Address); err != nil {
			return nil, p, parseError(err)
		}
		p = place{host: config.Host, port: strconv.Itoa(int(config.Port))}
		p.describe()
		return config, p, nil
	}
	if p, err = placeOf(t); err != nil {
		return nil, p, err
	}
	var text strings.Builder
	dbname := d.dbname
	if strings.Contains(dbname, "=") {
		// The name may be a whole connection string; what is said apart wins.
		text.WriteString(dbname)
		dbname = ""
	}
	for _, item := range []struct{ name, value string }{
		{"host", p.host}, {"port", p.port}, {"user", d.user}, {"password", d.password}, {"dbname", dbname},
	} {
		if item.value != "" {
			fmt.Fprintf(&text, " %s='%s'", item.name, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(item.value))
		}
	}
	if config, err = pgconn.ParseConfig(text.String()); err != nil {
		return nil, p, parseError(err)
	}
	return config, p, nil
}

// parseError is the cause of a bad connection string, without the string: it
// may contain a password.
func parseError(err error) error {
	var e *pgconn.ParseConfigError
	if errors.As(err, &e) && e.Unwrap() != nil {
		err = e.Unwrap()
	}
	return fmt.Errorf("%w\n", err)
}

// connectError is the reason of a failure in the words of the client library.
func connectError(ctx context.Context, err error, p place) error {
	var said *pgconn.PgError
	var unknown *net.DNSError
	var op *net.OpError
	address := ""
	if errors.As(err, &op) {
		if a, ok := op.Addr.(*net.TCPAddr); ok {
			address = a.IP.String()
		}
	}
	failed := "connection to server " + p.named(address) + " failed: "
	switch {
	case errors.As(err, &said):
		return errors.New(failed + serverText(said, ""))
	case ctx.Err() != nil:
		return errors.New(failed + "timeout expired\n")
	case errors.As(err, &unknown):
		return fmt.Errorf("could not translate host name \"%s\" to address: Name or service not known\n", p.host)
	case op != nil && op.Op == "dial" && p.unix:
		return errors.New(failed + syserr.Text(op.Err) + "\n\tIs the server running locally and accepting connections on that socket?\n")
	case op != nil && op.Op == "dial":
		return errors.New(failed + syserr.Text(op.Err) + "\n\tIs the server running on that host and accepting TCP/IP connections?\n")
	}
	var whole *pgconn.ConnectError
	if errors.As(err, &whole) {
		err = whole.Unwrap()
	}
	return fmt.Errorf("%s%w\n", failed, err)
}
