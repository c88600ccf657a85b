package qmgr

import (
	"strconv"

	"suffix/pkg/record"
)

// attribute handles a name=value record (spec queue-files §8).
func (e *envelopeReader) attribute(data []byte) error {
	name, value, err := record.SplitAttr(data)
	if err != nil {
		e.warnf("%s: bad attribute record: %s: %.200s", e.msg.id, err, data)
		return errCorrupt
	}
	text := string(value)
	switch t := record.DSNType(string(name)); {
	case t == record.DSNOrigRcpt, t == record.DSNNotify:
		e.recipientAttribute(t, text)
		return nil
	case !e.first:
		return nil
	case t != 0:
		_, err := e.record(t, value)
		return err
	}
	msg, c := e.msg, &e.msg.client
	switch string(name) {
	case "create_time":
		e.createTime(text)
	case "encoding":
		msg.encoding = text
	case "trace_flags":
		e.traceFlags(text)
	case "log_client_name":
		c.name, e.logClient = text, true
	case "log_client_address":
		c.address, e.logClient = text, true
	case "log_client_port":
		c.port, e.logClient = text, true
	case "log_protocol_name":
		c.protocol, e.logClient = text, true
	case "log_helo_name":
		c.helo, e.logClient = text, true
	case "client_name":
		e.oldClient.name = text
	case "client_address":
		e.oldClient.address = text
	case "client_port":
		e.oldClient.port = text
	case "protocol_name":
		e.oldClient.protocol = text
	case "helo_name":
		e.oldClient.helo = text
	case "sasl_method":
		e.once("sasl_method", &c.saslMethod, text)
	case "sasl_username":
		e.once("sasl_username", &c.saslUsername, text)
	case "sasl_sender":
		e.once("sasl_sender", &c.saslSender, text)
	case "log_ident":
		e.once("log_ident", &c.logIdent, text)
	case "rewrite_context":
		e.once("rewrite_context", &c.rewriteContext, text)
	}
	return nil
}

// once keeps the first value of an attribute.
func (e *envelopeReader) once(name string, to *string, value string) {
	if *to != "" {
		e.warnf("%s: ignoring multiple %s attribute: %s", e.msg.id, name, value)
		return
	}
	*to = value
}

func (e *envelopeReader) traceFlags(text string) {
	if e.msg.traceFlags != 0 {
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return
	}
	e.msg.traceFlags = n & traceMask
	if e.msg.traceFlags == traceRecord {
		e.msg.traceOffset = e.r.Offset()
	}
}
