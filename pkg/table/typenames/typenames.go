// Package typenames lists the types of lookup tables that an installation has,
// without linking any of them: for programs that only name them, such as
// postconf -m, and for those that reach the large ones through another process.
package typenames

import "slices"

// Light are the types that every program opens by itself: those that package
// alltables registers.
var Light = []string{"btree", "cdb", "cidr", "debug", "environ", "fail", "hash", "inline", "internal", "lmdb", "memcache", "nis", "pcre",
	"pebble", "pipemap", "proxy", "randmap", "regexp", "socketmap", "static", "tcp", "texthash", "unionmap", "unix"}

// Heavy are the types of databases whose clients only the proxymap executable
// links: those that package heavytables adds.
var Heavy = []string{"ldap", "mongodb", "mysql", "pgsql", "sqlite"}

// All returns all types, sorted.
func All() []string {
	all := slices.Concat(Light, Heavy)
	slices.Sort(all)
	return all
}
