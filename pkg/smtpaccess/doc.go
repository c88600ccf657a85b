// Package smtpaccess decides what an SMTP client may do: restriction lists,
// access tables, DNS lists, address checks (spec smtpd-access.md).
//
// A Checker is made once from main.cf and serves all sessions of a process. A
// Session says what is known about one client; its Transaction what is known
// about the message under way. The Checker's methods Client, Helo, Sender,
// Recipient, Etrn, Data and EndOfData evaluate the lists of one protocol stage
// and return the reply that refuses the request, or none.
package smtpaccess
