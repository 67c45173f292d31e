package readings

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// Scan implements readings.Store.
func (s *Store) Scan(ctx context.Context, q readings.Scan, each func(*readings.Row) bool) error {
	from, to := q.From.UnixMilli(), q.To.UnixMilli()
	if to <= from {
		return nil
	}
	first := blockKey(nil, q.Policy, pieceOf(from), q.Meter)
	if q.After != nil {
		first = blockKey(nil, q.Policy, pieceOf(q.After.At), q.After.Meter)
	}
	// Nothing of the piece that to begins is wanted, if it begins one.
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: first, UpperBound: blockKey(nil, q.Policy, pieceOf(to-1)+1, ""),
	})
	if err != nil {
		return fmt.Errorf("scan readings: %w", err)
	}
	defer it.Close()
	var out readings.Row
	var seek []byte
	for ok := it.First(); ok && ctx.Err() == nil; {
		_, piece, meter, good := parseKey(it.Key())
		if !good {
			return fmt.Errorf("scan readings: %w: key %q", errBlock, it.Key())
		}
		if q.Meter != "" && meter != q.Meter {
			next := piece
			if meter > q.Meter {
				next++
			}
			seek = blockKey(seek[:0], q.Policy, next, q.Meter)
			ok = it.SeekGE(seek)
			continue
		}
		b, err := parse(it.Value())
		if err != nil {
			return fmt.Errorf("scan readings of %s, policy %s, meter %s: %w", q.Node, q.Name, meter, err)
		}
		out.Meter, out.Items = meter, b.items
		for i := range b.rows {
			r := &b.rows[i]
			known := q.After != nil && piece == pieceOf(q.After.At) && meter == q.After.Meter && r.at <= q.After.At
			if r.at < from || r.at >= to || known {
				continue
			}
			r.fill(b, &out)
			if !each(&out) {
				return nil
			}
		}
		ok = it.Next()
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("scan readings: %w", err)
	}
	return ctx.Err()
}

func (r *row) fill(b *block, out *readings.Row) {
	out.At = r.at
	out.Values = out.Values[:0]
	for _, c := range r.cells {
		var v readings.Value
		if c.state != reading.Absent {
			t := &r.tellings[c.telling]
			v = readings.Value{
				Value:  reading.Value{State: c.state, Number: c.number},
				Source: t.source, Version: t.version, Arrived: t.arrived, Stored: t.stored,
			}
			if c.state == reading.Missing {
				v.Reason = b.reasons[c.reason]
			}
		}
		out.Values = append(out.Values, v)
	}
}

// Policies implements readings.Store: from each policy it skips to the next.
func (s *Store) Policies(ctx context.Context, from readings.Policy, limit int) ([]readings.Policy, error) {
	var out []readings.Policy
	err := s.eachPolicy(ctx, from, func(p readings.Policy, _ uint32) (bool, error) {
		out = append(out, p)
		return len(out) < limit, nil
	})
	return out, err
}

// eachPolicy calls do with every policy, in order, and its oldest piece, until it
// returns false.
func (s *Store) eachPolicy(ctx context.Context, from readings.Policy, do func(readings.Policy, uint32) (bool, error)) error {
	lower := policyKey(nil, from)
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: []byte{rowPrefix + 1}})
	if err != nil {
		return fmt.Errorf("policies with readings: %w", err)
	}
	defer it.Close()
	var next []byte
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.SeekGE(next) {
		p, piece, _, good := parseKey(it.Key())
		if !good {
			return fmt.Errorf("policies with readings: %w: key %q", errBlock, it.Key())
		}
		if goOn, err := do(p, piece); err != nil || !goOn {
			return err
		}
		// Behind all pieces of this policy, and before the next one's.
		next = append(bytes.TrimSuffix(policyKey(next[:0], p), []byte{0}), 1)
	}
	return cmp.Or(it.Error(), ctx.Err())
}
