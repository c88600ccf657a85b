// Package alltables makes every table type known. A program that opens tables named
// in main.cf imports it for that effect.
package alltables

import (
	_ "suffix/pkg/nonbdb"
	_ "suffix/pkg/proxymapclient"
	_ "suffix/pkg/table/bdb"
	_ "suffix/pkg/table/cdb"
	_ "suffix/pkg/table/cidr"
	_ "suffix/pkg/table/lmdb"
	_ "suffix/pkg/table/memcache"
	_ "suffix/pkg/table/nis"
	_ "suffix/pkg/table/pcre"
	_ "suffix/pkg/table/pebble"
	_ "suffix/pkg/table/regexp"
	_ "suffix/pkg/table/simple"
	_ "suffix/pkg/table/socketmap"
	_ "suffix/pkg/table/tcp"
)
