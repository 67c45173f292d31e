package link

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Counters count what happened since the start. They may be read at any time.
type Counters struct {
	Connects    atomic.Int64 // sessions that got as far as their subscriptions
	Failures    atomic.Int64 // attempts that did not
	Syncs       atomic.Int64 // answered
	Unanswered  atomic.Int64 // syncs and reports given up
	Pushes      atomic.Int64 // desired pushes received
	Gaps        atomic.Int64 // of those, not usable without a sync
	Reports     atomic.Int64 // sent
	Accepted    atomic.Int64
	Rejected    atomic.Int64 // syncs and reports refused
	StoreErrors atomic.Int64 // writes to disk that failed
	Overflow    atomic.Int64 // shadows left alone, over MaxShadows
	BytesIn     atomic.Int64
	BytesOut    atomic.Int64
}

// Status is the link at one moment.
type Status struct {
	Connected bool             `json:"connected"`
	Since     time.Time        `json:"since,omitzero"`    // connected, or without a connection; zero: since the start
	LastSync  time.Time        `json:"lastSync,omitzero"` // when a sync was last answered
	Pending   []string         `json:"pending"`           // shadows whose report the cloud is not known to hold
	Refused   []Refused        `json:"refused,omitempty"` // reports it will not take as they are
	Problem   string           `json:"problem,omitempty"` // the last one; gone after the next sync
	Interval  string           `json:"syncInterval"`
	Counters  map[string]int64 `json:"counters"`
}

// Refused is a report that the cloud refused for what is in it.
type Refused struct {
	Shadow  string `json:"shadow"`
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Status tells how the link is.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Since: l.lost, LastSync: l.lastSync, Pending: []string{}, Interval: l.interval.String(), Counters: l.counters.values()}
	if l.session != nil {
		s.Connected, s.Since = true, l.session.since
	}
	if l.problem != nil {
		s.Problem = l.problem.Error()
	}
	for name, r := range l.replicas {
		if r.pending() {
			s.Pending = append(s.Pending, name)
		}
		if r.refused != nil && r.refused.reported == r.reported {
			s.Refused = append(s.Refused, Refused{name, r.refused.code, r.refused.message})
		}
	}
	slices.Sort(s.Pending)
	slices.SortFunc(s.Refused, func(a, b Refused) int { return strings.Compare(a.Shadow, b.Shadow) })
	return s
}

func (c *Counters) values() map[string]int64 {
	return map[string]int64{
		"connects": c.Connects.Load(), "failures": c.Failures.Load(), "syncs": c.Syncs.Load(),
		"unanswered": c.Unanswered.Load(), "pushes": c.Pushes.Load(), "gaps": c.Gaps.Load(),
		"reports": c.Reports.Load(), "accepted": c.Accepted.Load(), "rejected": c.Rejected.Load(),
		"storeErrors": c.StoreErrors.Load(), "overflow": c.Overflow.Load(),
		"bytesIn": c.BytesIn.Load(), "bytesOut": c.BytesOut.Load(),
	}
}
