package smtpaccess

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
)

// A policyService is one policy server with its settings (spec smtpd-access
// §11).
type policyService struct {
	name          string // as written, without the options
	network, addr string
	timeout       time.Duration
	maxIdle       time.Duration
	maxTTL        time.Duration
	requestLimit  int
	tryLimit      int
	retryDelay    time.Duration
	defaultAction string
	context       string
	maxValue      int // bytes of one value in a reply

	mu   sync.Mutex
	idle []*policyConn
}

// A policyConn is a connection to a policy server.
type policyConn struct {
	*attr.Conn
	born, used time.Time
	requests   int
}

// parsePolicy reads the argument of check_policy_service.
func (c *Checker) parsePolicy(arg string) (*policyService, error) {
	p := &policyService{
		timeout:       c.cfg.Time(params.SmtpdPolicyServiceTimeout),
		maxIdle:       c.cfg.Time(params.SmtpdPolicyServiceMaxIdle),
		maxTTL:        c.cfg.Time(params.SmtpdPolicyServiceMaxTtl),
		requestLimit:  c.cfg.Int(params.SmtpdPolicyServiceRequestLimit),
		tryLimit:      c.cfg.Int(params.SmtpdPolicyServiceTryLimit),
		retryDelay:    c.cfg.Time(params.SmtpdPolicyServiceRetryDelay),
		defaultAction: c.cfg.String(params.SmtpdPolicyServiceDefaultAction),
		context:       c.cfg.String(params.SmtpdPolicyServicePolicyContext),
		maxValue:      4 * c.cfg.Int(params.LineLengthLimit),
	}
	p.name = arg
	if strings.HasPrefix(arg, "{") {
		if err := p.options(arg); err != nil {
			return nil, err
		}
	}
	kind, rest, _ := strings.Cut(p.name, ":")
	switch {
	case rest == "":
		return nil, fmt.Errorf("need service transport:endpoint instead of \"%s\"", p.name)
	case kind == "unix", kind == "local":
		p.network, p.addr = "unix", rest
	case kind == "inet":
		p.network, p.addr = "tcp", rest
		if !strings.Contains(rest, ":") {
			p.addr = "localhost:" + rest
		}
	default:
		return nil, fmt.Errorf("invalid transport name: %s in service: %s", kind, p.name)
	}
	return p, nil
}

// options reads { service, name = value, ... }.
func (p *policyService) options(arg string) error {
	if _, problem := config.Unwrap(arg); problem != "" {
		inner, end := arg[1:], strings.LastIndexByte(arg, '}')
		if strings.HasPrefix(problem, "syntax") && end > 0 {
			inner = arg[1:end]
		}
		return fmt.Errorf("policy service syntax error: %s", strings.TrimRight(inner, " \t"))
	}
	inner, _ := config.Unwrap(arg)
	words := config.SplitBrace(inner)
	if len(words) == 0 {
		return fmt.Errorf("empty policy service: \"%s\"", arg)
	}
	p.name = words[0]
	settings, err := config.ItemOptions(words[1:])
	for _, s := range settings {
		if err == nil {
			err = p.option(s)
		}
	}
	return err
}

// option applies one setting.
func (p *policyService) option(s config.Setting) (err error) {
	switch s.Name {
	case "timeout":
		p.timeout, err = s.Time(1)
	case "max_idle":
		p.maxIdle, err = s.Time(1)
	case "max_ttl":
		p.maxTTL, err = s.Time(1)
	case "retry_delay":
		p.retryDelay, err = s.Time(1)
	case "request_limit":
		p.requestLimit, err = s.Int(0)
	case "try_limit":
		p.tryLimit, err = s.Int(1)
	case "default_action":
		p.defaultAction, err = s.Text(1)
	case "policy_context":
		p.context, err = s.Text(1)
	default:
		err = fmt.Errorf("unknown option: \"%s = %s\"", s.Name, s.Value)
	}
	return err
}

// get returns a connection, a waiting one where there is one that is fit.
func (p *policyService) get(ctx context.Context) (*policyConn, error) {
	now := time.Now()
	p.mu.Lock()
	for len(p.idle) > 0 {
		last := len(p.idle) - 1
		conn := p.idle[last]
		p.idle = p.idle[:last]
		if now.Sub(conn.used) < p.maxIdle && now.Sub(conn.born) < p.maxTTL {
			p.mu.Unlock()
			return conn, nil
		}
		conn.Close()
	}
	p.mu.Unlock()
	dialer := net.Dialer{Timeout: p.timeout}
	c, err := dialer.DialContext(ctx, p.network, p.addr)
	if err != nil {
		return nil, err
	}
	conn := &policyConn{Conn: attr.NewConn(c, attr.Plain, p.name, p.timeout), born: now}
	conn.R.MaxValue = p.maxValue
	return conn, nil
}

func (p *policyService) put(conn *policyConn) {
	conn.used = time.Now()
	conn.requests++
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requestLimit > 0 && conn.requests >= p.requestLimit || len(p.idle) >= maxIdlePolicies {
		conn.Close()
		return
	}
	p.idle = append(p.idle, conn)
}

// maxIdlePolicies bounds the connections kept to one policy server.
const maxIdlePolicies = 20

// policy asks a policy service and carries out its answer.
func (e *evaluation) policy(r *restriction) verdict {
	p := e.c.policies[r.arg]
	if p == nil {
		e.s.Log.Warnf("restriction check_policy_service must be followed by transport:server")
		return e.misconfigured()
	}
	action, err := e.askPolicy(p)
	if err == nil && e.c.smtputf8 && !utf8.ValidString(action) {
		e.s.Log.Warnf("malformed UTF-8 in policy server %s response: \"%s\"", p.name, action)
		err = errors.New("malformed UTF-8")
	}
	if err != nil {
		action = p.defaultAction
		if e.policyFailed {
			action = "451 4.3.5 Server configuration problem"
		}
		e.policyFailed = true
		defer func() { e.policyFailed = false }()
	}
	return e.apply(result{p.name, action, "policy query", e.name, e.class})
}

// askPolicy makes the request, more than once if need be.
func (e *evaluation) askPolicy(p *policyService) (action string, err error) {
	for try := 1; ; try++ {
		var conn *policyConn
		if conn, err = p.get(e.ctx); err == nil {
			e.policyRequest(conn, p)
			if err = conn.W.End(); err == nil {
				conn.R.Lenient = true
				if action, err = conn.R.Str("action"); err == nil {
					err = conn.R.End()
				}
			}
			if err == nil {
				p.put(conn)
				return action, nil
			}
			conn.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			e.s.Log.Warnf("connect to %s: %s", p.addr, syserr.Text(syscall.ECONNREFUSED))
		}
		var missing *attr.MissingError
		if errors.As(err, &missing) {
			e.s.Log.Warnf("%s", err)
		}
		routine := errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
			errors.Is(err, syscall.ENOENT) || errors.Is(err, attr.ErrEOF)
		last := try >= p.tryLimit || e.ctx.Err() != nil
		if !routine || last {
			e.s.Log.Warnf("problem talking to server %s: %s", p.addr, syserr.Text(err))
		}
		if last {
			return "", err
		}
		e.wait(p.retryDelay)
	}
}

// policyRequest writes the attributes of a request.
func (e *evaluation) policyRequest(conn *policyConn, p *policyService) {
	s, tx := e.s, e.s.Tx
	stage := s.Stage
	if stage == "BDAT" {
		stage = "DATA"
	}
	count := 0
	if stage == "DATA" || stage == "END-OF-MESSAGE" {
		count = tx.Accepted
	}
	clean := func(value string) string {
		if strings.ContainsAny(value, "\n\x00") {
			return strings.NewReplacer("\n", "?", "\x00", "?").Replace(value)
		}
		return value
	}
	add := func(name, value string) { conn.W.Str(name, clean(value)) }
	add("request", "smtpd_access_policy")
	add("protocol_state", stage)
	add("protocol_name", s.Protocol)
	add("client_address", s.Address)
	add("client_name", s.Name)
	add("client_port", s.Port)
	add("reverse_client_name", s.ReverseName)
	add("server_address", s.ServerAddress)
	add("server_port", s.ServerPort)
	add("helo_name", s.Helo)
	add("sender", tx.Sender)
	add("recipient", tx.Recipient)
	add("recipient_count", strconv.Itoa(count))
	add("queue_id", tx.QueueID)
	add("instance", tx.Instance)
	add("size", strconv.FormatInt(tx.Size, 10))
	add("etrn_domain", s.Etrn)
	add("stress", s.Stress)
	add("sasl_method", s.Method)
	add("sasl_username", s.Login)
	add("sasl_sender", tx.SASLSender)
	for _, name := range []string{"ccert_subject", "ccert_issuer", "ccert_fingerprint", "ccert_pubkey_fingerprint", "encryption_protocol", "encryption_cipher"} {
		add(name, "")
	}
	add("encryption_keysize", "0")
	if !e.c.cfg.Dialect37() {
		add("tls_sni", "")
	}
	add("policy_context", p.context)
	if !e.c.cfg.Dialect37() {
		add("compatibility_level", e.c.cfg.String(params.CompatibilityLevel))
		add("mail_version", e.c.cfg.String(params.MailVersion))
	}
}
