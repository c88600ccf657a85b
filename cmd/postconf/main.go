// Postconf shows and changes the settings of the mail system: parameters of
// main.cf, services of master.cf (spec config §13).
//
// It reads main.cf and master.cf itself and talks to no service. -b and -t run
// the bounce daemon, which alone knows the texts of bounce messages.
package main

import (
	"bufio"
	"os"
	"time"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run is the whole command; it returns the exit status.
func run(args []string, stdout, stderr *os.File) (status int) {
	p := &postconf{tag: args[0], stderr: stderr, out: bufio.NewWriterSize(stdout, 64<<10)}
	err := p.start(args[1:])
	if err == nil {
		err = p.out.Flush()
	}
	if err != nil {
		p.message("fatal: " + err.Error())
		time.Sleep(fatalPause)
		return 1
	}
	return p.status
}

// fatalPause is how long every program waits after a fatal message, so that a
// loop around it does not spin. Tests shorten it.
var fatalPause = time.Second

// postconf is one run of the command.
type postconf struct {
	tag    string // name of the program in messages: argv[0] as it is
	stderr *os.File
	out    *bufio.Writer
	status int

	options
	dir string // configuration directory as given

	main     *mainFile
	services []*service // master.cf
	names    names

	clientFiles map[string]bool // files of table clients that were checked
	groupBytes  int             // text in braces that was searched for tables
}

// message writes one line to standard error. Bytes that cannot be printed
// become question marks.
func (p *postconf) message(text string) {
	line := make([]byte, 0, len(p.tag)+len(text)+3)
	line = append(line, p.tag+": "+text...)
	for i, c := range line {
		if c < ' ' || c > '~' {
			line[i] = '?'
		}
	}
	_, _ = p.stderr.Write(append(line, '\n')) // nobody could be told
}

func (p *postconf) warn(text string) { p.message("warning: " + text) }
