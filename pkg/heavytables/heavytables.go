// Package heavytables makes the table types known whose clients are too large
// for every program: SQL databases, LDAP and MongoDB. Only libexec/heavy imports
// it; other programs reach these types through package proxymapclient.
package heavytables
