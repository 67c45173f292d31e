package index

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"gnomon/cloud/identity"
	"gnomon/schema"
)

// Group is how many shadows have something in common.
type Group struct {
	Value     string `json:"value" doc:"what they have in common; empty when they don't have it"`
	Count     int    `json:"count"`
	Converged int    `json:"converged" doc:"how many of them have converged"`
}

func (g *Group) add(r *row) {
	g.Count++
	if r.converged {
		g.Converged++
	}
}

// Counting is a question for counts.
type Counting struct {
	Kind     schema.Kind // "" = every kind
	Selector Selector    // of indexed keys
	By       string      // component, phase, site, error, kind or label.<name>; "" = only the total
	Limit    int         // of the groups that are listed; the rest is in Other
}

// Counts is the answer: the largest groups first.
type Counts struct {
	Groups     []Group
	Other      Group // of the groups beyond the limit
	Total      Group
	Position   uint64
	Incomplete bool
}

// maxGroups is how many values are told apart while counting. Of more than that,
// which only something like a serial number has, those met later count as other.
const maxGroups = 10_000

// Count counts shadows by group. Each is counted as of the moment it is passed.
func (ix *Index) Count(ctx context.Context, p identity.Principal, q Counting) (*Counts, error) {
	by, err := grouping(q.By)
	if err != nil {
		return nil, err
	}
	if !q.Selector.Indexed() {
		return nil, &SelectorError{Position: 1, Message: "counts can't be selected by what documents hold", Allowed: "indexed keys"}
	}
	if _, err := ix.begin(p, Query{}); err != nil {
		return nil, err
	}
	m := compile(q.Selector, ix.cfg.Now())
	if q.Kind != "" {
		m.tests = slices.Insert(m.tests, 0, kindTest(Requirement{Op: Equal, Values: []string{string(q.Kind)}}))
	}
	out := &Counts{}
	ix.mu.RLock()
	out.Position, out.Incomplete = ix.position, ix.incomplete
	ix.mu.RUnlock()
	groups := make(map[text]*Group)
	ix.walk(cursor{}.key, func(r *row) bool {
		if !m.row(r) {
			return true
		}
		out.Total.add(r)
		if by == nil {
			return true
		}
		value, _ := by(r)
		g := groups[value]
		if g == nil {
			if len(groups) >= maxGroups {
				out.Other.add(r)
				return true
			}
			g = &Group{Value: value.Value()}
			groups[value] = g
		}
		g.add(r)
		return true
	})
	out.take(groups, q.Limit)
	return out, ctx.Err()
}

// take lists the largest groups and adds the rest to other.
func (c *Counts) take(groups map[text]*Group, limit int) {
	c.Groups = make([]Group, 0, len(groups))
	for _, g := range groups {
		c.Groups = append(c.Groups, *g)
	}
	slices.SortFunc(c.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	for _, g := range c.Groups[min(limit, len(c.Groups)):] {
		c.Other.Count += g.Count
		c.Other.Converged += g.Converged
	}
	c.Groups = slices.Clip(c.Groups[:min(limit, len(c.Groups))])
}

// GroupError says by what can't be counted.
type GroupError struct{ By string }

func (e *GroupError) Error() string {
	return fmt.Sprintf("can't count by %q; allowed: component, phase, site, error, kind and label.<name>", e.By)
}

// RejectionCode makes it a bad request.
func (e *GroupError) RejectionCode() int { return 400 }

// grouping returns what reads the value to group by; nil for no groups.
func grouping(by string) (func(*row) (text, bool), error) {
	if by == "" {
		return nil, nil
	}
	field, name, err := (&parser{text: by}).fieldOf(by, 0)
	if err != nil {
		return nil, &GroupError{By: by}
	}
	switch field {
	case Component, Phase, Site, Fault, Label:
		return getter(Requirement{Field: field, Name: name}), nil
	case Kind:
		names := [len(kinds)]text{}
		for i, k := range kinds {
			names[i] = intern(string(k), none)
		}
		return func(r *row) (text, bool) { return names[r.kind], true }, nil
	}
	return nil, &GroupError{By: by}
}
