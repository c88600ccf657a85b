// Package all registers every table type that daemons use.
package all

import (
	_ "suffix/pkg/table/bdb"
	_ "suffix/pkg/table/cidr"
	_ "suffix/pkg/table/regexp"
	_ "suffix/pkg/table/simple"
)
