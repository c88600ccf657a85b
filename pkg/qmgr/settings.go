package qmgr

import (
	"strings"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
)

// settings are the parameters that hold for all transports (spec qmgr §17.1).
type settings struct {
	activeLimit     int // messages
	rcptLimit       int // recipients in memory
	rcptMinimum     int // recipients of each message
	clogWarnTime    time.Duration
	queueRunDelay   time.Duration
	minimalBackoff  time.Duration
	maximalBackoff  time.Duration
	queueLifetime   time.Duration
	bounceLifetime  time.Duration
	transportRetry  time.Duration
	daemonTimeout   time.Duration
	inFlowDelay     time.Duration
	processLimit    int
	deferTransports map[string]bool
	filterNexthop   string // default_filter_nexthop
	myhostname      string
	doubleBounce    string
	verpDelimiters  string // verp_delimiter_filter
	delayCleared    bool
	verpBounces     bool
	feedbackDebug   bool
	helpful         bool
	utf8            bool
	dialect37       bool
	internalForm    bool // of addresses in the log
	maxProbes       int
	errorService    string
	retryService    string
}

func readSettings(cfg *config.Main, log *maillog.Logger) settings {
	s := settings{
		activeLimit:     cfg.Int(params.QmgrMessageActiveLimit),
		rcptLimit:       cfg.Int(params.QmgrMessageRecipientLimit),
		rcptMinimum:     cfg.Int(params.QmgrMessageRecipientMinimum),
		clogWarnTime:    cfg.Time(params.QmgrClogWarnTime),
		queueRunDelay:   cfg.Time(params.QueueRunDelay),
		minimalBackoff:  cfg.Time(params.MinimalBackoffTime),
		maximalBackoff:  cfg.Time(params.MaximalBackoffTime),
		queueLifetime:   cfg.Time(params.MaximalQueueLifetime),
		bounceLifetime:  cfg.Time(params.BounceQueueLifetime),
		transportRetry:  cfg.Time(params.TransportRetryTime),
		daemonTimeout:   cfg.Time(params.DaemonTimeout),
		inFlowDelay:     cfg.Time(params.InFlowDelay),
		processLimit:    cfg.Int(params.DefaultProcessLimit),
		deferTransports: make(map[string]bool),
		filterNexthop:   cfg.String(params.DefaultFilterNexthop),
		myhostname:      cfg.String(params.Myhostname),
		doubleBounce:    cfg.String(params.DoubleBounceSender),
		verpDelimiters:  cfg.String(params.VerpDelimiterFilter),
		delayCleared:    cfg.Bool(params.ConfirmDelayCleared),
		verpBounces:     !cfg.Bool(params.DisableVerpBounces),
		feedbackDebug:   cfg.Bool(params.DestinationConcurrencyFeedbackDebug),
		helpful:         cfg.Bool(params.HelpfulWarnings),
		utf8:            cfg.Bool(params.Smtputf8Enable),
		dialect37:       cfg.Dialect37(),
		internalForm:    strings.EqualFold(cfg.String(params.InfoLogAddressFormat), "internal"),
		maxProbes:       cfg.Int(params.AddressVerifyPendingRequestLimit),
		errorService:    cfg.String(params.ErrorServiceName),
		retryService:    "retry",
	}
	for _, name := range cfg.List(params.DeferTransports) {
		s.deferTransports[name] = true
	}
	if s.rcptLimit < s.activeLimit {
		log.Warnf("qmgr_message_recipient_limit is smaller than qmgr_message_active_limit - adjusting qmgr_message_recipient_limit")
		s.rcptLimit = s.activeLimit
	}
	if s.bounceLifetime > s.queueLifetime {
		log.Warnf("bounce_queue_lifetime is larger than maximal_queue_lifetime - adjusting bounce_queue_lifetime")
		s.bounceLifetime = s.queueLifetime
	}
	return s
}
