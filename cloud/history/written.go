package history

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gnomon/schema"
	"gnomon/shadow"
)

// Written returns the leaves that a version wrote, by path, and which later
// version asked for something else in their place. Saying the same again is
// asking for nothing else. What the version removed is not among them.
func (l *Log) Written(version uint64) ([]schema.Written, error) {
	states, err := l.from(version)
	if err != nil {
		return nil, err
	}
	own := states[0]
	before, err := own.before()
	if err != nil {
		return nil, err
	}
	was, is := shadow.Leaves(before), shadow.Leaves(own.desired)
	var out []schema.Written
	for path, v := range is {
		if shadow.Equal(v, was[path]) && !slices.Contains(own.Again, path) {
			continue
		}
		out = append(out, schema.Written{Path: path, Value: v, Asked: own.Time})
	}
	slices.SortFunc(out, func(a, b schema.Written) int { return strings.Compare(a.Path, b.Path) })
	for _, later := range states[1:] {
		then := shadow.Leaves(later.desired)
		for i := range out {
			if w := &out[i]; w.SupersededBy == 0 && !shadow.Equal(w.Value, then[w.Path]) {
				w.SupersededBy = later.Version
			}
		}
	}
	return out, nil
}

// before returns what was desired before a version.
func (s *state) before() (*shadow.Value, error) {
	if s.Undo == nil {
		return nil, nil // where the history begins: all of it counts as written
	}
	undo, err := shadow.Parse(s.Undo, wide)
	if err != nil {
		return nil, fmt.Errorf("history: %w: %w", shadow.ErrCorrupt, err)
	}
	return shadow.Merge(s.desired, undo, 0), nil
}

// Since returns the paths that were written after a version, each with the first
// version that did: changed, removed, or said again. known tells whether the
// history goes back that far.
func (l *Log) Since(version uint64) (paths map[string]uint64, known bool, err error) {
	paths = make(map[string]uint64)
	if l.now == nil || l.now.DesiredVersion == version {
		return paths, true, nil
	}
	states, err := l.from(version)
	if err != nil {
		if len(l.entries) == 0 || l.entries[0].Before != version {
			return nil, false, nil //nolint:nilerr // it doesn't go back that far
		}
		if states, err = l.from(l.entries[0].Version); err != nil {
			return nil, false, nil //nolint:nilerr // as above
		}
		before, err := states[0].before()
		if err != nil {
			return nil, false, err
		}
		states = append([]state{{desired: before}}, states...)
	}
	for i, later := range states[1:] {
		was, is := shadow.Leaves(states[i].desired), shadow.Leaves(later.desired)
		note := func(path string) {
			if paths[path] == 0 {
				paths[path] = later.Version
			}
		}
		for path, v := range is {
			if !shadow.Equal(v, was[path]) {
				note(path)
			}
		}
		for path := range was {
			if is[path] == nil {
				note(path)
			}
		}
		for _, path := range later.Again {
			note(path)
		}
	}
	return paths, true, nil
}

// Leap returns a history whose versions are raised, as those of its shadow are
// when that is restored.
func Leap(d *shadow.Document, by uint64) (*shadow.Document, error) {
	leapt := *d
	leapt.Version += by
	leapt.DesiredVersion += by
	if !d.Exists() {
		return &leapt, nil
	}
	var entries []*shadow.Value
	newest := uint64(0)
	for _, v := range d.Desired.Get(entriesMember).Members() {
		var e Entry
		if err := json.Unmarshal([]byte(v.Text()), &e); err != nil {
			return nil, fmt.Errorf("history: %w: %w", shadow.ErrCorrupt, err)
		}
		if newest = e.Version + by; e.Before > 0 {
			e.Before += by
		}
		e.Version = newest
		text, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		entries = append(entries, shadow.Text(string(text)))
	}
	next := document(nil, entries, d.Desired.Get(droppedMember) != nil, &shadow.Document{DesiredVersion: newest, Timestamp: d.Timestamp})
	leapt.Desired = next.Desired
	return &leapt, nil
}
