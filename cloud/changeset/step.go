package changeset

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gnomon/cloud/history"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// View is what decisions are made on: a moment and the documents of then.
type View struct {
	Now    int64
	Heads  map[string]*shadow.Document // by name; nil for a shadow that never was
	Logs   map[string]*history.Log     // of shadows that an applied change-set changed; may lack some
	Limits shadow.Limits

	// Holds tells whether a selector that was checked holds for a shadow.
	Holds func(shadowName, selector string) bool
	// Validate checks what the algebra doesn't know: the types of shadows.
	Validate func(shadowName string, previous, next *shadow.Document, u *shadow.Update) error
}

// Write is what becomes of one shadow.
type Write struct {
	Next   *shadow.Document
	Update *shadow.Update
}

// Writes are those of one change-set, by shadow; all or none is written.
type Writes struct {
	Of     *Change
	Shadow map[string]Write
}

// Add takes in a change-set, with the next generation, and applies it if it may be
// by now. It must be valid on what is desired at present even if it is for later.
// After an error s is not to be used.
func (s *Set) Add(c *Change, v *View, b Bounds) (Writes, error) {
	s.Generation++
	c.Generation, c.Created, c.Status = s.Generation, v.Now, Scheduled
	for name, share := range c.Shadows {
		share.Base = current(v.Heads[name])
	}
	trial := c.Clone()
	if _, err := trial.apply(v, nil); err != nil {
		return Writes{}, err
	}
	if c.NoWait && !c.holds(v) {
		return Writes{}, errPrecondition
	}
	s.Changes = append(s.Changes, c)
	w := Writes{Of: c}
	if c.ready(v) {
		var err error
		if w.Shadow, err = c.apply(v, s.TakesBack()); err != nil {
			return Writes{}, err
		}
		s.inherit(c, v)
	}
	if n, size := s.Open(); c.Open() && n > b.Open {
		return Writes{}, tooMany("open change-sets of this thing", b.Open, n)
	} else if c.Open() && size > b.Bytes {
		return Writes{}, tooMany("bytes in the open change-sets of this thing", b.Bytes, size)
	}
	return w, nil
}

func tooMany(what string, limit, got int) error {
	return &wire.Error{Code: wire.CodeConflict, Message: fmt.Sprintf("%s: %d, the limit is %d; cancel some, or wait until they are over", what, got, limit)}
}

var errPrecondition = &wire.Error{Code: wire.CodeConflict, Message: "precondition: it does not hold at present, and wait is false"}

// Clone returns a copy that can be applied without the original changing.
func (c *Change) Clone() *Change {
	twin := *c
	twin.Shadows = make(map[string]*Share, len(c.Shadows))
	for name, share := range c.Shadows {
		own := *share
		twin.Shadows[name] = &own
	}
	return &twin
}

// Cancel ends a change-set that isn't applied yet.
func (s *Set) Cancel(generation uint64, now int64, by string) (*Change, error) {
	c := s.Get(generation)
	switch {
	case c == nil:
		return nil, notFound(generation, s)
	case c.Status != Scheduled:
		return nil, &wire.Error{Code: wire.CodeConflict, Message: fmt.Sprintf("change-set %d is %s; only a scheduled one can be cancelled", generation, c.Status)}
	}
	c.end(Cancelled, now, "by "+by)
	return c, nil
}

func notFound(generation uint64, s *Set) error {
	message := fmt.Sprintf("There is no change-set %d of this thing", generation)
	if generation <= s.Generation {
		message += " any more: only the last ones that are over are kept"
	}
	return &missing{message}
}

// missing is shadow.ErrNotFound with a message.
type missing struct{ message string }

func (e *missing) Error() string { return e.message }

// RejectionCode implements wire.Coded.
func (e *missing) RejectionCode() int { return wire.CodeNotFound }

// Is makes errors.Is find shadow.ErrNotFound.
func (e *missing) Is(target error) bool { return target == shadow.ErrNotFound }

// Find returns the change-set of a generation, or why there is none.
func (s *Set) Find(generation uint64) (*Change, error) {
	if c := s.Get(generation); c != nil {
		return c, nil
	}
	return nil, notFound(generation, s)
}

// Step does the first thing that is due, in the order of generations, and returns
// what is to be written for it; Of is nil when there is nothing to do.
func (s *Set) Step(v *View) Writes {
	for _, c := range s.Changes {
		if c.Status.Over() {
			continue
		}
		before := c.Status
		writes := c.step(v, s.TakesBack())
		if c.Status == Applied && before == Scheduled {
			s.inherit(c, v)
		}
		if c.Status != before {
			return Writes{c, writes}
		}
	}
	return Writes{}
}

// TakesBack lists the shadows of which something may be taken back: then it
// matters who says the same.
func (s *Set) TakesBack() []string {
	var names []string
	for _, c := range s.Changes {
		if c.Status == Applied && c.ExpiresAt > 0 {
			for name := range c.Shadows {
				names = append(names, name)
			}
		}
	}
	return names
}

func (c *Change) step(v *View, claim []string) map[string]Write {
	late := c.ExpiresAt > 0 && v.Now >= c.ExpiresAt
	switch {
	case c.Status == Scheduled && late:
		c.end(Expired, v.Now, "it could not be applied in time")
	case c.Status == Scheduled && c.ready(v):
		writes, err := c.apply(v, claim)
		if err == nil {
			return writes
		}
		c.end(Failed, v.Now, reason(err))
	case c.Status == Applied:
		switch c.Progress(v) {
		case Reached:
			c.end(Reached, v.Now, "")
			if c.ClearWhenReached {
				return c.clear(v)
			}
		case Superseded:
			c.end(Superseded, v.Now, "later writes ask for something else")
		case Applied:
			if late {
				c.end(Expired, v.Now, "it was not reached in time")
				return c.takeBack(v)
			}
		}
	}
	return nil
}

// reason is an error in words for whoever looks later.
func reason(err error) string {
	_, text := wire.Rejection(err)
	if more := wire.Detail(err); more != "" {
		text += ": " + more
	}
	return text
}

func (c *Change) ready(v *View) bool {
	return v.Now >= c.NotBefore && NextOpen(c.Windows, v.Now) == v.Now && c.holds(v)
}

func (c *Change) holds(v *View) bool {
	for name, selector := range c.Precondition {
		if !v.Holds(name, selector) {
			return false
		}
	}
	return true
}

func current(d *shadow.Document) uint64 {
	if !d.Exists() {
		return 0
	}
	return d.Version
}

// apply works out what a change-set writes. After an error it is not applied. Of
// the shadows in claim it writes also what is desired already, so that nobody
// takes it back.
func (c *Change) apply(v *View, claim []string) (map[string]Write, error) {
	writes := make(map[string]Write, len(c.Shadows))
	for name, share := range c.Shadows {
		w, err := share.apply(name, v, slices.Contains(claim, name))
		if err != nil {
			return nil, inShadow(name, err)
		}
		if w.Next == nil {
			continue
		}
		writes[name] = w
		if c.ExpiresAt > 0 {
			share.Undo = undoOf(desired(v.Heads[name]), w.Next.Desired)
		}
	}
	c.Status, c.Applied = Applied, v.Now
	return writes, nil
}

// inherit makes a change-set that has just been applied, and may be taken back,
// take back what others were to that it wrote over: else what they wrote would be
// there again, or stay.
func (s *Set) inherit(c *Change, v *View) {
	if c.ExpiresAt == 0 {
		return
	}
	for _, other := range s.Changes {
		if other == c || other.Status != Applied || other.ExpiresAt == 0 {
			continue
		}
		for name, share := range c.Shadows {
			theirs := other.Shadows[name]
			if theirs == nil || share.Undo == nil {
				continue
			}
			if head := v.Heads[name]; theirs.Made && head.Exists() && head.DesiredVersion == theirs.Version {
				share.Made = true
			}
			own, wanted := other.untouched(name, v), share.wanted()
			for path, was := range theirs.Undo {
				_, over := share.Undo[path]
				if (over || wanted[path] != nil) && own(path) {
					share.Undo[path] = was
				}
			}
		}
	}
}

// inShadow says which shadow an error is about.
func inShadow(name string, err error) error {
	at := `shadows."` + name + `"`
	var refused *schema.Error
	if errors.As(err, &refused) {
		named := &schema.Error{Kind: refused.Kind}
		for _, p := range refused.Problems {
			p.Path = at + ".desired." + p.Path
			named.Problems = append(named.Problems, p)
		}
		return named
	}
	code, _ := wire.Rejection(err)
	return &wire.Error{Code: code, Message: at + ": " + reason(err)}
}

func (s *Share) apply(name string, v *View, claim bool) (Write, error) {
	head := v.Heads[name]
	switch {
	case s.Base > 0 && !head.Exists():
		return Write{}, &wire.Error{Code: wire.CodeConflict, Message: "it was deleted since the change-set was accepted"}
	case s.Expect != nil && *s.Expect != current(head):
		return Write{}, &wire.Error{Code: wire.CodeConflict, Message: fmt.Sprintf("version is %d, and %d was expected", current(head), *s.Expect)}
	}
	patch, err := shadow.Parse(s.Desired, shadow.Limits{BodyBytes: maxDesired, Depth: v.Limits.Depth})
	if err != nil {
		return Write{}, err
	}
	var old *shadow.Value
	if head.Exists() {
		old = head.Desired
	}
	w := Write{Update: &shadow.Update{Desired: shadow.Section{Present: true, Patch: patch, Replace: s.Replace}}}
	if s.Replace && !claim {
		patch = shadow.PatchBetween(old, shadow.Merge(nil, patch, v.Now))
		if patch == nil && head.Exists() {
			s.Version = head.DesiredVersion // it says so already
			return Write{}, nil
		}
		if patch.Kind() != shadow.Object {
			patch = shadow.NewObject()
		}
		w.Update.Desired = shadow.Section{Present: true, Patch: patch}
	}
	if w.Next, err = head.Apply(w.Update, v.Now, v.Limits); err != nil {
		return Write{}, err
	}
	if err := v.Validate(name, head, w.Next, w.Update); err != nil {
		return Write{}, err
	}
	s.Version, s.Made = w.Next.Version, !head.Exists()
	return w, nil
}

// maxDesired bounds what was accepted once; what may be is for Parse to say.
const maxDesired = 1 << 24

// undoOf lists by path what was written over; null where nothing was.
func undoOf(before, after *shadow.Value) map[string]json.RawMessage {
	undo := make(map[string]json.RawMessage)
	was, is := shadow.Leaves(before), shadow.Leaves(after)
	for path, v := range is {
		if !shadow.Equal(was[path], v) {
			undo[path] = rawOf(was[path])
		}
	}
	for path, v := range was {
		if is[path] == nil {
			undo[path] = rawOf(v)
		}
	}
	return undo
}

func rawOf(v *shadow.Value) json.RawMessage {
	if v == nil {
		return json.RawMessage("null")
	}
	return v.AppendJSON(nil)
}

// Due returns when something may have to be done at the latest, and whether it
// may be sooner, when the thing's shadows change. 0: nothing by itself.
func (s *Set) Due(now int64) (at int64, watch bool) {
	for _, c := range s.Changes {
		if c.Status.Over() {
			continue
		}
		next := c.ExpiresAt
		if c.Status == Applied {
			watch = true
		} else {
			watch = watch || len(c.Precondition) > 0
			if open := NextOpen(c.Windows, max(now, c.NotBefore)); next == 0 || open < next {
				next = open
			}
		}
		if next > 0 && (at == 0 || next < at) {
			at = next
		}
	}
	return at, watch
}

// Looks lists the names of the shadows that a change-set changes or looks at.
func (c *Change) Looks() []string {
	names := c.names(nil)
	slices.Sort(names)
	return slices.Compact(names)
}
