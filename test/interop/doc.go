// Package interop runs the mail system with and against Debian's Postfix: each
// program of one suite alone inside the other, the queue handed over in both
// directions, and mail from independent clients. The tests need root and the
// packages that prepare.sh installs; "make interop" runs them.
//
// Every run makes a private instance whose directories of programs hold
// symbolic links, so that any program can be of either suite, and puts the
// same traffic through it. What can be seen from outside — mailboxes, mail at
// the next hop, SMTP dialogues, output and exit codes of commands, log lines —
// is compared with what Postfix alone does, where process and queue IDs, times
// and ports are masked.
package interop
