package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
)

// Trace flags of a submission.
const (
	traceVerify = 512  // -bv
	traceReport = 1024 // -v
)

// Send options.
const (
	sendSMTPUTF8   = 1
	sendRequireTLS = 32
)

const maxEnvelopeID = 100

// command is what the command line says.
type command struct {
	cfg       *config.Main
	uid       int
	firstPass bool // only -C counts

	mode       mode
	configDir  string
	verbose    int
	encoding   string // 7bit, 8bit
	fullName   string
	hasName    bool
	sender     string // as given
	hasSender  bool
	remote     bool // -G
	keepDots   bool // -i
	notify     dsn.Notify
	ret        dsn.Ret
	envelopeID string
	verp       string // delimiters
	sendOpts   int
	aliases    string // database for newaliases
	hasNotify  bool
	hasRet     bool
	extract    bool // -t
	trace      int
	queueFlush bool // some -q option came
	site       string
	queueID    string
	recipients []string
}

// optionsSpec has the letters of all options; a colon marks an argument.
const optionsSpec = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx"

// parse reads the command line, args[0] being the program. Options end at the
// first word that is none.
func (c *command) parse(args []string) error {
	words := args[1:]
	for len(words) > 0 {
		word := words[0]
		if len(word) < 2 || word[0] != '-' {
			break
		}
		if word == "--" {
			words = words[1:]
			break
		}
		switch {
		case word == "-q":
			words = words[1:]
			if err := c.flushOption(); err != nil {
				return err
			}
			continue
		case word == "-V" && len(words) > 1 && len(words[1]) == 2:
			c.warn("option -V is deprecated with Postfix 2.3; specify -XV instead")
			word = "-XV"
		case strings.HasPrefix(word, "-V") && len(word) == 4:
			c.warn("option %s is deprecated with Postfix 2.3; specify -X%s instead", word, word[1:])
			word = "-X" + word[1:]
		}
		words = words[1:]
		for i := 1; i < len(word); i++ {
			at := strings.IndexByte(optionsSpec, word[i])
			if at < 0 || word[i] == ':' {
				if err := c.usage(args[0], "invalid option -- '%c'", word[i]); err != nil {
					return err
				}
				continue
			}
			value := ""
			takes := at+1 < len(optionsSpec) && optionsSpec[at+1] == ':'
			if takes {
				if value = word[i+1:]; value == "" {
					if len(words) == 0 {
						return c.usage(args[0], "option requires an argument -- '%c'", word[i])
					}
					value, words = words[0], words[1:]
				}
			}
			if c.firstPass {
				if word[i] == 'C' {
					c.configDir = value
				}
			} else if err := c.option(word[i], value); err != nil {
				return err
			}
			if takes {
				break
			}
		}
	}
	c.recipients = words
	return nil
}

// usage tells what is wrong with an option. The first pass goes on after it.
func (c *command) usage(name, format string, args ...any) error {
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, fmt.Sprintf(format, args...))
	if c.firstPass {
		return nil
	}
	return errors.New("usage: sendmail [options]")
}

func (c *command) warn(format string, args ...any) {
	if !c.firstPass {
		maillog.Warnf(format, args...)
	}
}

// option handles one option.
func (c *command) option(letter byte, value string) error {
	first := byte(0) // of the value
	if value != "" {
		first = value[0]
	}
	switch letter {
	case 'n':
		return errors.New("-n option not supported")
	case 'B':
		switch value {
		case "8BITMIME":
			c.encoding = "8bit"
		case "7BIT":
			c.encoding = "7bit"
		default:
			return errors.New("-B option needs 8BITMIME or 7BIT")
		}
	case 'F':
		c.fullName, c.hasName = value, true
	case 'G':
		c.remote = true
	case 'I':
		c.mode = newAliases
	case 'N':
		n, ok := c.parseNotify(value)
		if !ok {
			if c.cfg.Dialect37() {
				c.warn("bad -N option value -- ignored")
			} else {
				c.warn("bad -N option value: '%s' -- ignored", value)
			}
			break
		}
		c.notify, c.hasNotify = n, true
	case 'O':
		c.longOption(value)
	case 'R':
		ret, ok := dsn.ParseRet(value)
		if !ok {
			c.warn("bad -R option value -- ignored")
			break
		}
		c.ret, c.hasRet = ret, true
	case 'V':
		switch {
		case len(value) > maxEnvelopeID:
			c.warn("too long -V option value -- ignored")
		case !c.validEnvelopeID(value):
			c.warn("bad syntax in -V option value -- ignored")
		default:
			c.envelopeID = value
		}
	case 'X':
		return c.verpOption(first, value)
	case 'b':
		return c.modeOption(first)
	case 'f', 'r':
		c.sender, c.hasSender = value, true
	case 'i':
		c.keepDots = true
	case 'o':
		switch first {
		case 'A':
			if len(value) == 1 {
				return errors.New("-oA requires pathname")
			}
			c.aliases = value[1:]
		case 'i':
			c.keepDots = true
		}
	case 'q':
		return c.queueOption(first, value)
	case 't':
		c.extract = true
	case 'v':
		c.verbose++
	}
	return nil
}

func (c *command) validEnvelopeID(text string) bool {
	for i := 0; i < len(text); i++ {
		if b := text[i]; (b < ' ' || b > '~') && (b != '\t' || c.cfg.Dialect37()) {
			return false
		}
	}
	return true
}

// parseNotify reads a list separated by commas and blanks.
func (c *command) parseNotify(value string) (n dsn.Notify, ok bool) {
	words := strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	for _, word := range words {
		bit, ok := dsn.ParseNotify(word)
		if !ok {
			c.warn("unknown DSN NOTIFY command value \"%s\" in \"%s\"", word, value)
			return 0, false
		}
		n |= bit
	}
	return n, n != 0 && n.Valid()
}

func (c *command) longOption(value string) {
	name, setting, _ := strings.Cut(value, "=")
	on := strings.EqualFold(setting, "yes")
	known := on || strings.EqualFold(setting, "no")
	var bit int
	switch {
	case c.cfg.Dialect37():
		return
	case strings.EqualFold(name, "REQUIRETLS"):
		bit = sendRequireTLS
		if known && !c.cfg.Bool(params.RequiretlsEnable) {
			c.warn("Ignoring option '-O %s, because the configuration is 'requiretls_enable = no'", value)
			return
		}
	case strings.EqualFold(name, "SMTPUTF8"):
		bit = sendSMTPUTF8
		if on && !c.cfg.Bool(params.Smtputf8Enable) {
			c.warn("'-O %s' was requested, but the configuration is 'smtputf8_enable = no'", value)
		}
	default:
		return
	}
	switch {
	case !known:
		c.warn("bad -O option: '%s' -- ignored", value)
	case on:
		c.sendOpts |= bit
	default:
		c.sendOpts &^= bit
	}
}

func (c *command) verpOption(first byte, value string) error {
	if first != 'V' {
		return fmt.Errorf("unsupported: -X%c", first)
	}
	c.verp = value[1:]
	if c.verp == "" {
		c.verp = c.cfg.String(params.DefaultVerpDelimiters)
	}
	filter := c.cfg.String(params.VerpDelimiterFilter)
	if len(c.verp) != 2 || strings.IndexByte(filter, c.verp[0]) < 0 || strings.IndexByte(filter, c.verp[1]) < 0 {
		return fmt.Errorf("-V requires two characters from %s", filter)
	}
	return nil
}

func (c *command) modeOption(first byte) error {
	switch first {
	case 'd', 'l':
		if c.queueFlush {
			c.warn("ignoring -q option in daemon mode")
		}
		c.mode = daemon
	case 'h', 'H':
		os.Exit(0)
	case 'i':
		c.mode = newAliases
	case 'm':
		c.mode = deliver
	case 'p':
		c.mode = listQueue
	case 's':
		c.mode = standalone
	case 'v':
		c.mode = deliver
		c.trace |= traceVerify
	default:
		return fmt.Errorf("unsupported: -b%c", first)
	}
	return nil
}

func (c *command) flushOption() error {
	if c.firstPass {
		return nil
	}
	c.queueFlush = true
	if c.mode == daemon {
		c.warn("ignoring -q option in daemon mode")
		return nil
	}
	c.mode = flushQueue
	return nil
}

func (c *command) queueOption(first byte, value string) error {
	switch {
	case first >= '0' && first <= '9':
		c.queueFlush = true
		if c.mode != daemon {
			os.Exit(0)
		}
	case first == 'R':
		if c.site, c.queueID = value[1:], ""; c.site == "" {
			return errors.New("specify: -qRsitename")
		}
	case first == 'I':
		if c.queueID, c.site = value[1:], ""; c.queueID == "" {
			return errors.New("specify: -qIqueueid")
		}
	default:
		// Postfix's words for what Sendmail has and Postfix never had.
		return fmt.Errorf("-q%c is not implemented", first)
	}
	return nil
}

// check finds options that contradict each other.
func (c *command) check() error {
	if c.verbose == 1 && c.mode == deliver && c.trace&traceVerify == 0 {
		c.verbose = 0
		c.trace |= traceReport
	}
	if c.extract && c.mode != deliver {
		return errors.New("-t can be used only in delivery mode")
	}
	if c.site != "" {
		if c.mode != deliver {
			return errors.New("-qR can be used only in delivery mode")
		}
		c.mode = flushSite
	}
	if c.queueID != "" {
		if c.mode != deliver {
			return errors.New("-qI can be used only in delivery mode")
		}
		c.mode = flushID
	}
	if c.trace&traceVerify != 0 && c.mode == deliver {
		switch {
		case c.extract:
			return errors.New("-t option cannot be used with -bv")
		case c.hasNotify:
			return errors.New("-N option cannot be used with -bv")
		case c.hasRet:
			return errors.New("-R option cannot be used with -bv")
		case c.verbose == 1 || c.trace&traceReport != 0:
			return errors.New("-v option cannot be used with -bv")
		}
	}
	if len(c.recipients) == 0 {
		return nil
	}
	switch c.mode {
	case flushSite:
		return errors.New("flush site requires no recipient")
	case flushID:
		return errors.New("flush queue_id requires no recipient")
	case listQueue:
		return errors.New("display queue mode requires no recipient")
	case flushQueue:
		return errors.New("flush queue mode requires no recipient")
	case daemon:
		return errors.New("daemon mode requires no recipient")
	case newAliases:
		return errors.New("alias initialization mode requires no recipient")
	case standalone:
		return errors.New("stand-alone mode requires no recipient")
	}
	return nil
}
