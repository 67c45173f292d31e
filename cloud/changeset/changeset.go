package changeset

import (
	"encoding/json"
	"fmt"
	"slices"

	"gnomon/shadow"
)

// Status is how far a change-set has come.
type Status string

// The statuses. All but the first two are for good.
const (
	Scheduled  Status = "scheduled"  // not applied yet
	Applied    Status = "applied"    // desired says it; the thing doesn't report all of it yet
	Reached    Status = "reached"    // the thing has reported all of it
	Expired    Status = "expired"    // it wasn't applied in time, or not reached in time and taken back
	Superseded Status = "superseded" // later writes ask for something else before all of it was reached
	Failed     Status = "failed"     // when it was to be applied it couldn't be
	Cancelled  Status = "cancelled"  // by an operator before it was applied
)

// Statuses are all there are.
var Statuses = []Status{Scheduled, Applied, Reached, Expired, Superseded, Failed, Cancelled}

// Over tells whether nothing more happens to it.
func (s Status) Over() bool { return s != Scheduled && s != Applied }

// Change is one change-set. Times are seconds since 1970, 0 for none.
type Change struct {
	Generation uint64            `json:"generation"`
	Status     Status            `json:"status"`
	Reason     string            `json:"reason,omitempty"` // why it failed, expired or was cancelled
	Shadows    map[string]*Share `json:"shadows"`          // by name, "" for the classic one
	Life
	Note    string `json:"note,omitempty"`
	By      string `json:"by"`
	Created int64  `json:"created"`
	Applied int64  `json:"applied,omitempty"`
	Ended   int64  `json:"ended,omitempty"`
}

// Share is a change-set's part in one shadow.
type Share struct {
	Desired json.RawMessage `json:"desired"`           // a merge patch, or with Replace the whole section
	Replace bool            `json:"replace,omitempty"` // Desired is all that is to be desired
	Expect  *uint64         `json:"expect,omitempty"`  // the version that must be current when it is applied
	Base    uint64          `json:"base,omitempty"`    // the version when it was accepted; 0: there was no shadow

	// Since it is applied.
	Version uint64                     `json:"version,omitempty"` // that it made
	Made    bool                       `json:"made,omitempty"`    // there was no shadow before
	Undo    map[string]json.RawMessage `json:"undo,omitempty"`    // by path, what it wrote over; null: nothing was there
}

// Life says when a change-set may be applied and how long it holds.
type Life struct {
	NotBefore        int64             `json:"notBefore,omitempty"`
	ExpiresAt        int64             `json:"expiresAt,omitempty"`
	Windows          []Window          `json:"windows,omitempty"`
	Precondition     map[string]string `json:"precondition,omitempty"` // by shadow, the selector that must hold for it
	NoWait           bool              `json:"noWait,omitempty"`       // a precondition that doesn't hold refuses the change-set
	ClearWhenReached bool              `json:"clearWhenReached,omitempty"`
}

// Limited tells whether something happens to an applied change-set by itself.
func (l *Life) Limited() bool { return l.ExpiresAt > 0 || l.ClearWhenReached }

// Open tells whether a change-set takes one of the places for open ones: it has
// something before it that isn't only being looked at.
func (c *Change) Open() bool {
	return c.Status == Scheduled || c.Status == Applied && c.Limited()
}

// Set is the change-sets of one thing.
type Set struct {
	Generation uint64    // given last
	Changes    []*Change // in the order of their generations
}

// The members of the document.
const (
	generationMember = "generation"
	changesMember    = "changes" // an array of strings, each a Change as JSON
)

// Parse reads the change-sets of a thing from their document; nil has none.
func Parse(d *shadow.Document) (*Set, error) {
	s := &Set{}
	if !d.Exists() {
		if d != nil {
			s.Generation = d.Version // a damaged record was replaced: that is beyond whatever was given
		}
		return s, nil
	}
	if _, err := fmt.Sscan(d.Desired.Get(generationMember).Text(), &s.Generation); err != nil {
		return nil, fmt.Errorf("change-sets: %w: generation: %w", shadow.ErrCorrupt, err)
	}
	for _, v := range d.Desired.Get(changesMember).Members() {
		c := new(Change)
		if err := json.Unmarshal([]byte(v.Text()), c); err != nil {
			return nil, fmt.Errorf("change-sets: %w: %w", shadow.ErrCorrupt, err)
		}
		s.Changes = append(s.Changes, c)
	}
	return s, nil
}

// Document returns the document of s that follows old, which may be nil. Ended
// change-sets beyond the bounds are left out, the oldest first; the newest is kept
// whatever its size.
func (s *Set) Document(old *shadow.Document, now int64, b Bounds) (*shadow.Document, error) {
	var texts []*shadow.Value
	size, ended := 0, 0
	for i, c := range slices.Backward(s.Changes) {
		text, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("change-set %d: %w", c.Generation, err)
		}
		if !c.Open() {
			ended++
			if newest := i == len(s.Changes)-1; !newest && (ended > b.Ended || size+len(text) > b.Bytes) {
				continue
			}
		}
		size += len(text)
		texts = append(texts, shadow.Text(string(text)))
	}
	slices.Reverse(texts)
	d := &shadow.Document{Version: 1, Timestamp: now}
	if old != nil {
		d.Version = old.Version + 1
	}
	d.DesiredVersion = d.Version
	d.Desired = shadow.NewObject(
		shadow.Member{Key: generationMember, Value: shadow.Uint(s.Generation)},
		shadow.Member{Key: changesMember, Value: shadow.NewArray(texts...)},
	)
	return d, nil
}

// Get returns the change-set of a generation, nil when it isn't kept.
func (s *Set) Get(generation uint64) *Change {
	for _, c := range s.Changes {
		if c.Generation == generation {
			return c
		}
	}
	return nil
}

// Open returns how many take a place, and the bytes of what they write.
func (s *Set) Open() (n, bytes int) {
	for _, c := range s.Changes {
		if c.Open() {
			n++
			bytes += c.size()
		}
	}
	return n, bytes
}

func (c *Change) size() int {
	n := len(c.Note)
	for name, share := range c.Shadows {
		n += len(name) + len(share.Desired)
	}
	return n
}

// Names lists the shadows that those which are not over change or look at.
func (s *Set) Names() []string {
	var names []string
	for _, c := range s.Changes {
		if !c.Status.Over() {
			names = c.names(names)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *Change) names(names []string) []string {
	for name := range c.Shadows {
		names = append(names, name)
	}
	for name := range c.Precondition {
		names = append(names, name, "") // labels and the site are in the classic one
	}
	return names
}

// end makes the status one that is for good.
func (c *Change) end(s Status, now int64, reason string) {
	c.Status, c.Ended, c.Reason = s, now, reason
}

// restored is why change-sets that were open at a backup are not after it.
const restored = "it was restored from a backup, after which it isn't known what became of it"

// Leap returns the change-sets of a thing as they are restored from a backup:
// generations and versions are raised, and what was open is cancelled, since it
// may have been applied after the backup and a stale command must not run. By 0
// nothing changes, and only what is wrong is found.
func Leap(d *shadow.Document, by uint64) (*shadow.Document, error) {
	s, err := Parse(d)
	if err != nil {
		return nil, err
	}
	leapt := *d
	leapt.Version += by
	leapt.DesiredVersion += by
	if by == 0 || !d.Exists() {
		return &leapt, nil
	}
	s.Generation += by
	for _, c := range s.Changes {
		c.Generation += by
		for _, share := range c.Shadows {
			if share.Version > 0 {
				share.Version += by
			}
			if share.Base > 0 {
				share.Base += by
			}
		}
		if c.Open() {
			c.end(Cancelled, d.Timestamp, restored)
		}
	}
	next, err := s.Document(nil, d.Timestamp, DefaultBounds)
	if err != nil {
		return nil, err
	}
	leapt.Desired = next.Desired
	return &leapt, nil
}
