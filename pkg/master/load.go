package master

import (
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
)

// Load reads and checks main.cf, and configures the log: master writes the log
// file itself while it starts or changes services. The error is fatal.
func Load() (*config.Main, error) {
	cfg, err := config.Load(config.Options{
		Program: "master",
		Warn:    func(text string) { maillog.Warnf("%s", text) },
	})
	if err != nil {
		return nil, err
	}
	if err := configureLog(cfg, true); err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	for _, text := range cfg.Ineffective("master") {
		maillog.Warnf("%s", text)
	}
	for _, id := range []params.Int{params.DefaultProcessLimit, params.TcpWindowsize} {
		cfg.Int(id)
	}
	cfg.Time(params.ServiceThrottleTime)
	return cfg, cfg.Err()
}

func version(cfg *config.Main) string { return cfg.String(params.MailVersion) }
