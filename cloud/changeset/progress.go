package changeset

import (
	"encoding/json"
	"slices"
	"strings"

	"gnomon/schema"
	"gnomon/shadow"
)

// Receipts says of every value that a change-set wrote in a shadow what became
// of it; nothing before it is applied. Those of one that was reached are as they
// were then: all applied.
func (c *Change) Receipts(name string, v *View) []schema.Receipt {
	share := c.Shadows[name]
	if share == nil || share.Version == 0 {
		return nil
	}
	head := v.Heads[name]
	now := shadow.Leaves(desired(head))
	var later map[string]uint64
	if log := v.Logs[name]; log != nil {
		later, _, _ = log.Since(share.Version) //nolint:errcheck // without it only the version that superseded isn't known
	}
	var written []schema.Written
	var applied []schema.Receipt
	for path, want := range share.wanted() {
		w := schema.Written{Path: path, Value: want, Asked: c.Applied}
		switch {
		case c.Status == Reached:
			applied = append(applied, schema.Receipt{Path: path, Value: want, Status: schema.ReceiptApplied, Asked: c.Applied})
			continue
		case shadow.Equal(now[path], want):
		case isEmpty(want) && within(now, path):
			continue // {} says nothing about what is there
		default:
			if w.SupersededBy = later[path]; w.SupersededBy == 0 && head != nil {
				w.SupersededBy = head.DesiredVersion
			}
		}
		written = append(written, w)
	}
	out := append(applied, schema.ReceiptsAt(name, head, written)...)
	slices.SortFunc(out, func(a, b schema.Receipt) int { return strings.Compare(a.Path, b.Path) })
	return out
}

func desired(d *shadow.Document) *shadow.Value {
	if !d.Exists() {
		return nil
	}
	return d.Desired
}

// wanted lists the values that a share writes, by path.
func (s *Share) wanted() map[string]*shadow.Value {
	v, err := shadow.Parse(s.Desired, shadow.Limits{BodyBytes: maxDesired, Depth: shadow.MaxDepth})
	if err != nil {
		return nil // it was checked when it came
	}
	leaves := shadow.Leaves(v)
	for path, v := range leaves {
		if v.Kind() == shadow.Null {
			delete(leaves, path)
		}
	}
	return leaves
}

func isEmpty(v *shadow.Value) bool { return v.Kind() == shadow.Object && v.Len() == 0 }

// within tells whether there are leaves below a path.
func within(leaves map[string]*shadow.Value, path string) bool {
	for p := range leaves {
		if strings.HasPrefix(p, path+".") {
			return true
		}
	}
	return false
}

// Progress tells whether an applied change-set is reached or superseded by now.
func (c *Change) Progress(v *View) Status {
	if c.Status != Applied {
		return c.Status
	}
	superseded := false
	for name, share := range c.Shadows {
		head := v.Heads[name]
		if !head.Exists() {
			superseded = true
			continue
		}
		kind, _ := schema.KindOf(name)
		typed := kind == schema.KindApplication || kind == schema.KindPolicy
		if typed && schema.StatusOf(name, head).ObservedVersion < share.Version {
			return Applied
		}
		for _, r := range c.Receipts(name, v) {
			switch r.Status {
			case schema.ReceiptApplied:
			case schema.ReceiptSuperseded:
				superseded = true
			default:
				return Applied
			}
		}
	}
	if superseded {
		return Superseded
	}
	return Reached
}

// clear removes from desired what was reached, but for what others wrote since.
func (c *Change) clear(v *View) map[string]Write {
	writes := make(map[string]Write)
	for name, share := range c.Shadows {
		own := c.untouched(name, v)
		patch := make(map[string]*shadow.Value)
		for path := range share.wanted() {
			if own(path) {
				patch[path] = nil
			}
		}
		c.write(writes, name, patch, v)
	}
	return writes
}

// takeBack makes desired what it was, but for what others wrote since. A shadow
// that the change-set made, and nobody wrote since, is deleted.
func (c *Change) takeBack(v *View) map[string]Write {
	writes := make(map[string]Write)
	for name, share := range c.Shadows {
		head := v.Heads[name]
		if !head.Exists() {
			continue
		}
		kind, _ := schema.KindOf(name)
		typed := kind == schema.KindApplication || kind == schema.KindPolicy
		if share.Made && head.DesiredVersion == share.Version && (typed || head.Reported == nil) {
			if gone, err := head.Delete(nil, v.Now); err == nil {
				writes[name] = Write{gone, &shadow.Update{}}
			}
			continue
		}
		c.write(writes, name, c.restored(name, v), v)
	}
	return writes
}

// restored lists by path what is to be there again.
func (c *Change) restored(name string, v *View) map[string]*shadow.Value {
	share, own := c.Shadows[name], c.untouched(name, v)
	patch := make(map[string]*shadow.Value)
	for path, raw := range share.Undo {
		if own(path) {
			patch[path] = valueOf(raw)
		}
	}
	// What others wrote in the place of it, or within it, stays.
	for theirs := range shadow.Leaves(desired(v.Heads[name])) {
		if _, ours := patch[theirs]; ours {
			continue
		}
		for path, was := range patch {
			if was != nil && (strings.HasPrefix(theirs, path+".") || strings.HasPrefix(path, theirs+".")) {
				delete(patch, path)
			}
		}
	}
	return patch
}

func valueOf(raw json.RawMessage) *shadow.Value {
	v, err := shadow.Parse(raw, shadow.Limits{BodyBytes: maxDesired, Depth: shadow.MaxDepth})
	if err != nil || v.Kind() == shadow.Null {
		return nil
	}
	return v
}

// untouched returns what tells of a path that the change-set wrote whether nobody
// wrote it since: by the history, or, where that doesn't go back so far, by what
// is there now and when it was written.
func (c *Change) untouched(name string, v *View) func(path string) bool {
	share := c.Shadows[name]
	left, now := share.wanted(), shadow.Leaves(desired(v.Heads[name]))
	var later map[string]uint64
	known := false
	if log := v.Logs[name]; log != nil {
		later, known, _ = log.Since(share.Version) //nolint:errcheck // as if it didn't go back so far
	}
	return func(path string) bool {
		is := now[path]
		if !shadow.Equal(is, left[path]) && !(isEmpty(left[path]) && is == nil) {
			return false
		}
		if known {
			return later[path] == 0
		}
		return is == nil || isEmpty(is) || is.Stamp() == c.Applied
	}
}

// write adds what a patch makes of a shadow. What the types of shadows don't
// allow isn't done, and Reason says so.
func (c *Change) write(writes map[string]Write, name string, patch map[string]*shadow.Value, v *View) {
	head := v.Heads[name]
	if len(patch) == 0 || !head.Exists() {
		return
	}
	prune(desired(head), patch)
	w := Write{Update: &shadow.Update{Desired: shadow.Section{Present: true, Patch: shadow.FromLeaves(patch)}}}
	next, err := head.Apply(w.Update, v.Now, v.Limits)
	if err == nil {
		err = v.Validate(name, head, next, w.Update)
	}
	if err != nil {
		c.Reason = strings.TrimPrefix(c.Reason+"; what it wrote stays: "+reason(inShadow(name, err)), "; ")
		return
	}
	w.Next = next
	writes[name] = w
}

// prune has a patch remove the objects that it leaves empty.
func prune(now *shadow.Value, patch map[string]*shadow.Value) {
	was := shadow.Leaves(now)
	for again := true; again; {
		again = false
		for path, v := range shadow.Leaves(shadow.Merge(now, shadow.FromLeaves(patch), 0)) {
			if _, given := patch[path]; given || !isEmpty(v) || was[path] != nil {
				continue
			}
			for below := range patch {
				if strings.HasPrefix(below, path+".") {
					delete(patch, below)
				}
			}
			patch[path] = nil
			again = true
		}
	}
}
