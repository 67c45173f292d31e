package trace

import (
	"time"

	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow/wire"
)

// Change is a change of desired that has been committed, as the shadow service
// tells of it.
type Change struct {
	Key     store.Key
	Version uint64 // of the document, and of desired
	Parent  string // W3C traceparent
	By      string // who wrote it
	Door    Door
	Deleted bool
	Met     bool // what is reported is what is desired now already
	Written time.Time
	Remote  bool // another replica committed it
	Sent    Sent // by this process
}

// Sent is to how many a change was published.
type Sent struct {
	Known         bool // whether it can be known at all
	Push          int  // clients that the desired push went to
	Delta         int  // and the delta
	Acknowledging int  // of both, those that acknowledge what they get
}

func (s Sent) listeners() int { return s.Push + s.Delta }

func (s Sent) plus(o Sent) Sent {
	return Sent{s.Known || o.Known, s.Push + o.Push, s.Delta + o.Delta, s.Acknowledging + o.Acknowledging}
}

// id names a change.
type id struct {
	key     store.Key
	version uint64
}

// change is what is remembered of a Change.
type change struct {
	Change
	trace     string // id within Parent
	committed time.Time
	published time.Time

	delivered time.Time
	client    string // that acknowledged
	persisted bool   // it is the node itself, which does so once it is on its disk

	planned  time.Time // heard of
	plan     schema.Plan
	blockers []string

	reported time.Time // heard of
	observed uint64
	phase    string
	mark     uint64 // of the outcome looked at last

	failed time.Time // heard of last
	fault  *schema.Fault

	end   end
	ended time.Time
	by    uint64 // version that superseded it

	older, newer *change // of the same shadow
	size         int
}

// end is what ends a change; nothing more is heard of it.
type end uint8

const (
	open end = iota
	converged
	superseded
	gone // a deletion that has reached its node
)

// Bounds of what is kept of one change.
const (
	maxText     = 200 // bytes of a text
	maxBlockers = 4
	changeSize  = 720 // roughly, without its texts
)

func (c *change) measure() int {
	n := changeSize + 2*len(c.Key.Thing) + 2*len(c.Key.Shadow) + len(c.Parent) + len(c.By) + len(c.client) + len(c.phase) + 48*len(c.plan.Steps)
	for _, b := range c.blockers {
		n += len(b) + 16
	}
	if c.fault != nil {
		n += len(c.fault.Code) + len(c.fault.Message) + 96
	}
	return n
}

func newChange(c Change, now time.Time) *change {
	c.By = clip(c.By)
	r := &change{Change: c, committed: now, published: now}
	r.trace, _ = wire.TraceID(c.Parent)
	return r
}

// clip bounds a text that somebody else made.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
