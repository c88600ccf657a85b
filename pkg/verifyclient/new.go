package verifyclient

import (
	"suffix/pkg/config"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
)

// Protocol is what the server announces, misspelled as it is.
const Protocol = "address_verification_prrotocol"

// New returns a Client of the service that main.cf names. Calls repeat until
// the service answers or their context ends; failures are logged.
func New(cfg *config.Main) *Client {
	return NewWith(&ipc.Persistent{
		Class:    ipc.Private,
		Service:  cfg.String(params.AddressVerifyServiceName),
		Protocol: Protocol,
		Timeout:  cfg.Time(params.IpcTimeout),
		Idle:     cfg.Time(params.IpcIdle),
		TTL:      cfg.Time(params.IpcTtl),
		Warn:     func(text string) { maillog.Warnf("%s", text) },
	})
}
