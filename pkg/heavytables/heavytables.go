// Package heavytables makes the table types known whose clients are too large
// for every program: SQL databases, LDAP and MongoDB. Only libexec/heavy imports
// it; other programs reach these types through package proxymapclient.
package heavytables

import (
	_ "suffix/pkg/table/ldap"
	_ "suffix/pkg/table/mongodb"
	_ "suffix/pkg/table/mysql"
	_ "suffix/pkg/table/pebble/store"
	_ "suffix/pkg/table/pgsql"
	_ "suffix/pkg/table/sqlite"
)
