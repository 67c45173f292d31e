package external

import (
	"strings"

	"gnomon/shadow/wire"
)

// spellings are the ways in which shadow topics are written, each with what goes
// before it.
var spellings = []struct {
	topics Topics
	prefix string
}{
	{TopicsAWS, "$aws/"},
	{TopicsPlain, ""},
}

// filters match the topics of requests in one spelling, and nothing that the
// service publishes: those have other last levels.
func filters(prefix string) []string {
	classic, named := prefix+"things/+/shadow/", prefix+"things/+/shadow/name/+/"
	var all []string
	for _, op := range []wire.Op{wire.OpGet, wire.OpUpdate, wire.OpDelete} {
		all = append(all, classic+op.String(), named+op.String())
	}
	return append(all, classic+wire.OpSync.String())
}

// shared makes a filter that of a group's.
func shared(group, filter string) string { return "$share/" + group + "/" + filter }

// filters returns what is subscribed to for a spelling, shared unless nobody is
// there to share with.
func (b *Broker) filters(prefix string, share bool) []string {
	all := filters(prefix)
	for i := range all {
		if share {
			all[i] = shared(b.cfg.Group, all[i])
		}
	}
	return all
}

// spelled tells whether a topic is written with $aws/.
func spelled(topic string) Topics {
	if strings.HasPrefix(topic, "$") {
		return TopicsAWS
	}
	return TopicsPlain
}

// wants tells whether a spelling is to be served.
func (t Topics) wants(spelling Topics) bool { return t == TopicsBoth || t == spelling }
