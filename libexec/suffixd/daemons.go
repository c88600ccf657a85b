package main

import (
	"suffix/libexec/anvil"
	"suffix/libexec/bounce"
	"suffix/libexec/cleanup"
	"suffix/libexec/discard"
	erroragent "suffix/libexec/error"
	"suffix/libexec/flush"
	"suffix/libexec/local"
	"suffix/libexec/master"
	nbdbreindexd "suffix/libexec/nbdb_reindexd"
	"suffix/libexec/pickup"
	"suffix/libexec/postlogd"
	"suffix/libexec/proxymap"
	"suffix/libexec/qmgr"
	"suffix/libexec/scache"
	"suffix/libexec/showq"
	"suffix/libexec/smtp"
	"suffix/libexec/smtpd"
	"suffix/libexec/trivialrewrite"
	"suffix/libexec/virtual"
)

// daemons is the table of programs, by the name in daemon_directory.
var daemons = map[string]func(){
	"anvil":           anvil.Main,
	"bounce":          bounce.Main,
	"cleanup":         cleanup.Main,
	"discard":         discard.Main,
	"error":           erroragent.Main,
	"flush":           flush.Main,
	"lmtp":            smtp.Main,
	"local":           local.Main,
	"master":          master.Main,
	"nbdb_reindexd":   nbdbreindexd.Main,
	"nqmgr":           qmgr.Main,
	"pickup":          pickup.Main,
	"postlogd":        postlogd.Main,
	"proxymap":        proxymap.LightMain,
	"qmgr":            qmgr.Main,
	"scache":          scache.Main,
	"showq":           showq.Main,
	"smtp":            smtp.Main,
	"smtpd":           smtpd.Main,
	"trivial-rewrite": trivialrewrite.Main,
	"virtual":         virtual.Main,
}
