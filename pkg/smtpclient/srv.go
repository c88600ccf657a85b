package smtpclient

import (
	"math/rand/v2"
	"sort"

	"suffix/pkg/dnsclient"
	"suffix/pkg/dsn"
)

// asService looks up a destination through SRV records (spec smtp-client
// §3.5). final is false when the ordinary lookup shall follow.
func (l *lookup) asService(d *destination) (list []target, final bool) {
	c := l.cfg
	name := "_" + d.service + "._tcp." + d.host
	answer := c.DNS.Lookup(l.ctx, name, dnsclient.TypeSRV)
	ignorable := false
	switch answer.Result {
	case dnsclient.OK:
		list = l.srvTargets(name, d, answer.Records)
	case dnsclient.Retry:
		l.fail("4.4.3", answer.Text)
		ignorable = true
	case dnsclient.Fail:
		l.fail("5.4.3", answer.Text)
		ignorable = true
	case dnsclient.Invalid:
		l.fail("5.4.4", answer.Text)
		ignorable = true
	case dnsclient.Policy:
		l.fail("4.7.0", answer.Text)
	case dnsclient.NullSRV:
		l.fail("5.1.0", answer.Text)
	default:
		l.fail("5.4.4", answer.Text)
	}
	if len(list) > 0 || !c.SRVFallback && !(ignorable && c.IgnoreSRVError) {
		return list, true
	}
	c.Log.Infof("skipping SRV lookup for %s: %s", name, l.why.Reason)
	l.soft, l.why, l.foundMe = false, dsn.DSN{}, false
	return nil, false
}

func (l *lookup) srvTargets(name string, d *destination, records []dnsclient.Record) []target {
	records = weighted(records)
	var list []target
	best := int(records[0].Pref)
	for i := range records {
		list = l.exchanger(list, &records[i], records[i].Port)
	}
	if len(list) == 0 {
		l.cfg.Log.Warnf("no SRV host for %s has a valid address record", name)
		return nil
	}
	if l.loopCheck && d.port == 25 {
		found := list[0].pref
		if list = l.dropSelf(list); len(list) == 0 {
			if found != best {
				l.fail("4.4.4", "unable to find primary relay for "+name)
			} else {
				l.fail("5.4.6", "mail for "+name+" loops back to myself")
			}
			return nil
		}
	}
	return l.cfg.balanced(list)
}

// weighted orders records by priority, and within one priority at random
// according to weight.
func weighted(records []dnsclient.Record) []dnsclient.Record {
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	sort.SliceStable(records, func(i, j int) bool { return records[i].Pref < records[j].Pref })
	for start := 0; start < len(records); {
		end := start
		sum := 0
		for end < len(records) && records[end].Pref == records[start].Pref {
			sum += int(records[end].Weight)
			end++
		}
		for group := records[start:end]; len(group) > 1 && sum > 0; group = group[1:] {
			t, running := rand.IntN(sum+1), 0
			for i, r := range group {
				if running += int(r.Weight); running >= t {
					copy(group[1:i+1], group[:i])
					group[0] = r
					sum -= int(r.Weight)
					break
				}
			}
		}
		start = end
	}
	return records
}
