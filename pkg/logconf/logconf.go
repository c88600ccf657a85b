// Package logconf makes the mail log do what main.cf says. It stands between
// maillog, which knows nothing of configuration files, and config.
package logconf

import (
	"path/filepath"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
)

// Settings collects the parameters about logging: syslog_name,
// syslog_facility, maillog_file, maillog_file_prefixes,
// maillog_file_permissions, postlog_service_name, queue_directory, myhostname
// and smtputf8_enable.
func Settings(cfg *config.Main, program string) maillog.Settings {
	return maillog.Settings{
		Program:     program,
		SyslogName:  cfg.String(params.SyslogName),
		Facility:    cfg.String(params.SyslogFacility),
		File:        cfg.String(params.MaillogFile),
		Prefixes:    cfg.List(params.MaillogFilePrefixes),
		Permissions: cfg.String(params.MaillogFilePermissions),
		Socket:      filepath.Join(cfg.String(params.QueueDirectory), "public", cfg.String(params.PostlogServiceName)),
		Hostname:    cfg.String(params.Myhostname),
		UTF8:        cfg.Bool(params.Smtputf8Enable),
		ConfigFile:  filepath.Join(cfg.Dir(), "main.cf"),
	}
}

// Apply configures the mail log for a program. The error is one for Fatalf.
func Apply(cfg *config.Main, program string) error {
	return maillog.Configure(Settings(cfg, program))
}
