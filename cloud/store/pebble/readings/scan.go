package readings

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// Scan implements readings.Store.
func (s *Store) Scan(ctx context.Context, q readings.Scan, each func(*readings.Row) bool) error {
	w := walk{Scan: q, from: q.From.UnixMilli(), to: q.To.UnixMilli(), each: each}
	if w.to <= w.from || strings.Contains(q.Meter, "\x00") { // which ends a name in keys
		return nil
	}
	first := place{piece: pieceOf(w.from), meter: q.Meter}
	if q.After != nil {
		first = place{piece: pieceOf(q.After.At), meter: q.After.Meter}
	}
	// Nothing of the piece that to begins is wanted, if it begins one.
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: blockKey(nil, q.Policy, first), UpperBound: pieceKey(nil, q.Policy, pieceOf(w.to-1)+1),
	})
	if err != nil {
		return fmt.Errorf("scan readings: %w", err)
	}
	defer it.Close()
	var seek []byte
	for ok := it.First(); ok && ctx.Err() == nil; {
		_, at, good := parseKey(it.Key())
		if !good {
			return fmt.Errorf("scan readings: %w: key %q", errBlock, it.Key())
		}
		if q.Meter != "" && at.meter != q.Meter {
			next := place{piece: at.piece, meter: q.Meter}
			if at.meter > q.Meter {
				next.piece++
			}
			seek = blockKey(seek[:0], q.Policy, next)
			ok = it.SeekGE(seek)
			continue
		}
		if w.wants(at) {
			b, err := parse(it.Value())
			if err != nil {
				return fmt.Errorf("scan readings of %s, policy %s, meter %s: %w", q.Node, q.Name, at.meter, err)
			}
			if !w.take(at, b) {
				return nil
			}
		}
		ok = it.Next()
	}
	if err := cmp.Or(it.Error(), ctx.Err()); err != nil {
		return fmt.Errorf("scan readings: %w", err)
	}
	w.before(math.MaxInt64)
	return nil
}

// walk gives the rows of a scan in their order: those of whole grids, which are in one
// block, among those of the stretches, whose blocks follow it.
type walk struct {
	readings.Scan
	from, to int64
	each     func(*readings.Row) bool
	out      readings.Row

	at   place  // whose rows are being given
	grid *block // its rows of whole grids; nil: it has none
	next int    // of these
}

// wants tells whether there can be rows in a block that are wanted.
func (w *walk) wants(at place) bool {
	if at.stretch == 0 {
		return true
	}
	from, to := at.span()
	return to > w.from && from < w.to
}

// take gives the rows of a block, or keeps them until it is their turn; false when no
// more are wanted.
func (w *walk) take(at place, b *block) bool {
	if at.piece != w.at.piece || at.meter != w.at.meter {
		if !w.before(math.MaxInt64) {
			return false
		}
		w.grid, w.next = nil, 0
	}
	w.at = at
	if at.stretch == 0 {
		w.grid = b
		return true
	}
	for i := range b.rows {
		if !w.before(b.rows[i].at) || !w.give(b, i) {
			return false
		}
	}
	return true
}

// before gives the rows of whole grids up to a time.
func (w *walk) before(at int64) bool {
	for w.grid != nil && w.next < len(w.grid.rows) && w.grid.rows[w.next].at < at {
		w.next++
		if !w.give(w.grid, w.next-1) {
			return false
		}
	}
	return true
}

// give hands out a row, if it is wanted.
func (w *walk) give(b *block, i int) bool {
	r := &b.rows[i]
	if g := w.grid; b != g && g != nil && w.next < len(g.rows) && g.rows[w.next].at == r.at {
		// Told before there were stretches: it is the earlier one.
		b = merge([]*block{
			{items: g.items, reasons: g.reasons, rows: g.rows[w.next : w.next+1]},
			{items: b.items, reasons: b.reasons, rows: b.rows[i : i+1]},
		}, most)
		r = &b.rows[0]
		w.next++
	}
	known := w.After != nil && w.at.piece == pieceOf(w.After.At) && w.at.meter == w.After.Meter && r.at <= w.After.At
	if r.at < w.from || r.at >= w.to || known {
		return true
	}
	w.out.Meter, w.out.Items = w.at.meter, b.items
	r.fill(b, &w.out)
	return w.each(&w.out)
}

func (r *row) fill(b *block, out *readings.Row) {
	out.At = r.at
	out.Values = out.Values[:0]
	for _, c := range r.cells {
		var v readings.Value
		if c.state != reading.Absent {
			t := &r.tellings[c.telling]
			v = readings.Value{
				Value:  reading.Value{State: c.state, Number: c.number()},
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
		p, at, good := parseKey(it.Key())
		if !good {
			return fmt.Errorf("policies with readings: %w: key %q", errBlock, it.Key())
		}
		if goOn, err := do(p, at.piece); err != nil || !goOn {
			return err
		}
		// Behind all pieces of this policy, and before the next one's.
		next = append(bytes.TrimSuffix(policyKey(next[:0], p), []byte{0}), 1)
	}
	return cmp.Or(it.Error(), ctx.Err())
}
