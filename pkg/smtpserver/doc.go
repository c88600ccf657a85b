// Package smtpserver is the SMTP dialogue engine behind smtpd(8): it greets a
// client, obeys its commands, asks the access rules, hands accepted mail to
// cleanup and answers (spec smtpd.md).
//
// A Server holds what all sessions of a process share. Each connection gets one
// session value, driven by one goroutine. What belongs to one mail transaction
// stands in one transaction value, which is replaced as a whole when the
// transaction ends (spec hardening §3.1). Each command has a handler in a file
// of its own.
//
// Bytes from the client pass through the reader in reader.go, which knows line
// limits, bare newlines and deadlines; no other code looks for line ends.
package smtpserver
