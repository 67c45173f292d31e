package link

import (
	"cmp"
	"slices"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// lane is how urgent a report is. Reports of one shadow keep their order: only
// one is on its way at a time.
type lane int

// The lanes. What comes first is sent first, whatever waits in the others.
const (
	laneAlarm lane = iota // an alarm was raised or cleared
	laneState             // how the node and its applications are
	laneRest              // readings
)

// patient is how long a report waits behind more urgent ones before it counts as
// the next more urgent, short of alarms.
const patient = 30 * time.Second

// waiting is one report that is due.
type waiting struct {
	name  string
	lane  lane
	since time.Time
	*replica
}

// laneOf tells how urgent the report of a shadow is, by what the cloud lacks of it:
// so that it is known after a restart as well.
func (r *replica) laneOf(name string, now time.Time) lane {
	kind, _ := schema.KindOf(name)
	switch {
	case name == "" && alarming(r.reported, r.acked):
		return laneAlarm
	case kind == schema.KindPolicy && now.Sub(r.since) < patient:
		return laneRest
	default:
		return laneState
	}
}

// alarming tells whether the alarms of two reports of a node differ.
func alarming(reported, acked *shadow.Value) bool {
	for _, member := range []string{schema.ActiveAlarmsMember, schema.AlarmHistoryMember} {
		if !shadow.Equal(reported.At(schema.NodeMember, member), acked.At(schema.NodeMember, member)) {
			return true
		}
	}
	return false
}

// queue lists the reports that are due in the order in which they go out: by lane,
// within one the longest waiting first; mu is held.
func (l *Link) queue(now time.Time) []waiting {
	var all []waiting
	for name, r := range l.replicas {
		if r.due(now) {
			all = append(all, waiting{name, r.laneOf(name, now), r.since, r})
		}
	}
	slices.SortFunc(all, func(a, b waiting) int {
		return cmp.Or(cmp.Compare(a.lane, b.lane), a.since.Compare(b.since), cmp.Compare(a.name, b.name))
	})
	return all
}
