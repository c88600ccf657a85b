package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"suffix/pkg/account"
	"suffix/pkg/maillog"
	"suffix/pkg/table/dbcommon"
)

// defaultSockets are where servers of different distributions listen.
var defaultSockets = []string{"/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}

const defaultPort = "3306"

// dialer connects to the servers of one table.
type dialer struct {
	source         *dbcommon.Source
	user, password string
	dbname         string
	charset        string
	socket, port   string // where a host item does not say
	tls            tlsSettings
}

// readDialer reads the parameters of connections. Those of the option file
// count where the table's own configuration is silent.
func readDialer(s *dbcommon.Source) *dialer {
	d := &dialer{source: s, user: s.String("user", "", 0, 0), password: s.String("password", "", 0, 0), dbname: s.String("dbname", "", 1, 0),
		charset: "utf8mb4"}
	if !s.Options().Dialect37() {
		d.charset = strings.ToLower(s.String("charset", d.charset, 1, 0))
		if !plainName(d.charset) {
			s.Fail("%s: bad character set name: charset = %s", s.Name(), d.charset)
		}
	}
	options := readOptions(s.String("option_file", "", 0, 0), s.String("option_group", "client", 0, 0))
	if d.user == "" {
		d.user = options["user"]
	}
	if _, set := s.Lookup("password"); !set {
		d.password = options["password"]
	}
	d.socket, d.port = options["socket"], orElse(options["port"], defaultPort)
	d.tls = tlsSettings{
		cert: s.String("tls_cert_file", options["ssl-cert"], 0, 0), key: s.String("tls_key_file", options["ssl-key"], 0, 0),
		caFile: s.String("tls_CAfile", options["ssl-ca"], 0, 0), caPath: s.String("tls_CApath", options["ssl-capath"], 0, 0),
		ciphers: s.String("tls_ciphers", options["ssl-cipher"], 0, 0),
	}
	verify, set := options["ssl-verify-server-cert"]
	d.tls.verify = s.Bool("tls_verify_cert", set && !isOff(verify))
	return d
}

// isOff says whether an option that is present is turned off.
func isOff(value string) bool {
	switch strings.ToLower(value) {
	case "0", "off", "false", "no":
		return true
	}
	return false
}

// plainName says whether a name can stand in a statement as it is.
func plainName(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return name != ""
}

// checkPort turns the name of a port into its number.
func (d *dialer) checkPort(t *dbcommon.Target) {
	if t.Kind != dbcommon.TCP {
		return
	}
	host, port, given := dbcommon.CutPort(t.Address)
	switch n, err := strconv.Atoi(port); {
	case !given:
		port = d.port
	case err == nil && n > 0xffff:
		d.source.Fail("bad port number: %s", port)
	case err != nil || n <= 0:
		if n, err = net.LookupPort("tcp", port); err != nil || n == 0 {
			d.source.Fail("unknown service: %s/tcp", port)
		}
		port = strconv.Itoa(n)
	}
	t.Address = net.JoinHostPort(host, port)
}

// dial connects to a server and prepares the session.
func (d *dialer) dial(ctx context.Context, t *dbcommon.Target) (*conn, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = d.userName(), d.password, d.dbname
	c.Logger = &mysql.NopLogger{}
	c.Net, c.Addr = "unix", t.Address
	host := "localhost"
	if t.Kind == dbcommon.TCP {
		host, _, _ = net.SplitHostPort(t.Address)
		if host == "localhost" || host == "" {
			host, c.Addr = "localhost", d.defaultSocket()
		} else {
			c.Net = "tcp"
		}
	}
	// A password in clear text goes only where nobody can listen.
	c.AllowCleartextPasswords = c.Net == "unix" || d.tls.verify
	if d.tls.verify || c.Net == "tcp" && d.tls.used() {
		var err error
		if c.TLS, err = d.tls.config(host); err != nil {
			return nil, err
		}
		c.AllowFallbackToPlaintext = !d.tls.verify
	}
	// What the driver calls an error of the dialogue is named here by the step
	// that it happened in.
	var nc net.Conn
	c.DialFunc = func(ctx context.Context, network, address string) (_ net.Conn, err error) {
		var dialer net.Dialer
		nc, err = dialer.DialContext(ctx, network, address)
		return nc, err
	}
	// The driver panics at some malformed greetings.
	ready := false
	defer func() {
		if !ready && nc != nil {
			_ = nc.Close() // the driver may have closed it
		}
	}()
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(ctx)
	if err != nil {
		return nil, connectError(ctx, err, nc != nil, c.Net, orElse(host, c.Addr), c.Addr)
	}
	session := &conn{Conn: raw, charset: d.charset}
	if err := session.prepare(ctx); err != nil {
		_ = raw.Close() // never used
		return nil, err
	}
	ready = true
	return session, nil
}

// userName is the database user: where none is configured, the account that
// the process runs as.
func (d *dialer) userName() string {
	if d.user != "" {
		return d.user
	}
	if u, err := account.LookupUID(os.Geteuid()); err == nil {
		return u.Name
	}
	return ""
}

func (d *dialer) defaultSocket() string {
	if d.socket != "" {
		return d.socket
	}
	for _, path := range defaultSockets {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return defaultSockets[0]
}

// prepare sets the character set, and asks how string literals are written.
func (c *conn) prepare(ctx context.Context) error {
	if _, err := c.query(ctx, "SET NAMES "+c.charset, false); err != nil {
		maillog.Warnf("dict_mysql: mysql_set_character_set '%s' failed: %s", c.charset, strings.TrimPrefix(err.Error(), "query failed: "))
		return dbcommon.ErrLogged
	}
	mode, err := c.query(ctx, "SELECT @@SESSION.sql_mode", true)
	if err != nil {
		return err
	}
	c.noBackslash = strings.Contains(strings.Join(mode, ","), "NO_BACKSLASH_ESCAPES")
	return nil
}

// connectError is the reason of a failure in the words of the client library.
func connectError(ctx context.Context, err error, connected bool, network, host, socket string) error {
	var said *mysql.MySQLError
	var code syscall.Errno
	var unknown *net.DNSError
	number := func() int {
		if errors.As(err, &code) {
			return int(code)
		}
		if ctx.Err() != nil {
			return int(syscall.ETIMEDOUT)
		}
		return 0
	}
	switch {
	case errors.As(err, &said):
		return errors.New(said.Message)
	case errors.Is(err, mysql.ErrNoTLS):
		return errors.New("TLS/SSL error: SSL is required, but the server does not support it")
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return fmt.Errorf("Unknown server host '%s' (-2)", host)
	case !connected && network == "unix":
		return fmt.Errorf("Can't connect to local server through socket '%s' (%d)", socket, number())
	case !connected:
		return fmt.Errorf("Can't connect to server on '%s' (%d)", host, number())
	case errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, mysql.ErrMalformPkt), ctx.Err() != nil, errors.As(err, &code):
		return fmt.Errorf("Lost connection to server at 'handshake: reading initial communication packet', system error: %d", number())
	}
	return err
}
