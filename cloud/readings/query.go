package readings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gnomon/cloud/identity"
	"gnomon/schema/reading"
)

// Query says which readings are wanted.
type Query struct {
	Policies []Policy // in order
	Meter    string   // "" = all
	Item     string   // "" = all
	From, To time.Time
	After    *Mark // what is known already
}

// Mark is a place among readings: the last row that is known.
type Mark struct {
	Policy Policy
	Position
}

// Walk calls each with what is wanted, by policy, then by pieces of four hours, by
// meter, and by time, until it returns false. Row is good until it returns; of rows
// that have nothing of the item none is given.
func (s *Service) Walk(ctx context.Context, p identity.Principal, q Query, each func(Policy, *Row) bool) error {
	if p.Kind != identity.Operator {
		return ErrForbidden
	}
	if s.cfg.Store == nil {
		return ErrNoStore
	}
	goOn := true
	for _, policy := range q.Policies {
		scan := Scan{Policy: policy, Meter: q.Meter, From: q.From, To: q.To}
		if q.After != nil {
			if c := policy.Compare(q.After.Policy); c < 0 {
				continue
			} else if c == 0 {
				scan.After = &q.After.Position
			}
		}
		err := s.cfg.Store.Scan(ctx, scan, func(r *Row) bool {
			if one := *r; q.Item == "" || one.only(q.Item) {
				goOn = each(policy, &one)
			}
			return goOn
		})
		if err != nil || !goOn {
			return err
		}
	}
	return nil
}

// only keeps one item of a row; false when there is nothing of it.
func (r *Row) only(item string) bool {
	i := slices.Index(r.Items, item)
	if i < 0 || r.Values[i].State == reading.Absent {
		return false
	}
	r.Items, r.Values = r.Items[i:i+1], r.Values[i:i+1]
	return true
}

// Compare orders policies by node, then name.
func (p Policy) Compare(o Policy) int {
	switch {
	case p.Node != o.Node && p.Node < o.Node, p.Node == o.Node && p.Name < o.Name:
		return -1
	case p == o:
		return 0
	}
	return 1
}

// MaxPolicies bounds the policies that one question is about.
const MaxPolicies = 10_000

// ErrTooMany: a question about more policies than MaxPolicies.
var ErrTooMany = errors.New("too many policies")

// PoliciesOf lists the policies of a node of which there are readings, or that one
// of them that is named; of all nodes when node is "".
func (s *Service) PoliciesOf(ctx context.Context, p identity.Principal, node, name string) ([]Policy, error) {
	if p.Kind != identity.Operator {
		return nil, ErrForbidden
	}
	if s.cfg.Store == nil {
		return nil, ErrNoStore
	}
	if node != "" && name != "" {
		return []Policy{{node, name}}, nil
	}
	var out []Policy
	const page = 500
	for from := (Policy{Node: node}); ; {
		list, err := s.cfg.Store.Policies(ctx, from, page)
		if err != nil {
			return nil, err
		}
		for _, one := range list {
			if node != "" && one.Node != node {
				return out, nil
			}
			if name == "" || one.Name == name {
				out = append(out, one)
			}
		}
		if len(out) > MaxPolicies {
			return nil, fmt.Errorf("%w: more than %d have readings; name a node, or choose some by a selector", ErrTooMany, MaxPolicies)
		}
		if len(list) < page {
			return out, nil
		}
		last := list[len(list)-1]
		from = Policy{last.Node, last.Name + "\x01"} // what sorts right behind it: names hold nothing below a space
	}
}
