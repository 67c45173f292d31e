package readings

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"gnomon/cloud/readings"
	"gnomon/cloud/store/group"
	"gnomon/cloud/store/pebble/logger"
	"gnomon/schema/reading"
)

// maxGroup bounds the bytes of one batch of pebble's, so that one sync stays short.
const maxGroup = 2 << 20

// change is a batch as it is written.
type change struct {
	pieces []piece
	size   int
	done   func(error)
}

type piece struct{ key, value []byte }

// Submit implements readings.Sink. What is told is laid out here, by whoever brings
// it, so that only writing is left to the committer.
func (s *Store) Submit(ctx context.Context, t readings.Told, done func(error)) error {
	if err := s.Err(); err != nil {
		return err
	}
	c := layOut(t)
	c.done = done
	return s.group.Submit(ctx, c)
}

// layOut makes a block of the rows of each place.
func layOut(t readings.Told) change {
	b := t.Batch
	order := make([]int, len(b.Items)) // of the items in a block
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int { return strings.Compare(b.Items[x], b.Items[y]) })
	items := make([]string, len(order))
	for i, from := range order {
		items[i] = b.Items[from]
	}
	rows := make(map[place][]int, len(b.Rows))
	places := make([]place, 0, len(b.Rows))
	for i := range b.Rows {
		at := placeOf(b.Rows[i].Meter, b.Rows[i].At.UnixMilli())
		if rows[at] == nil {
			places = append(places, at)
		}
		rows[at] = append(rows[at], i)
	}
	var c change
	for _, at := range places {
		blk := &block{items: items, reasons: reasonsOf(b, rows[at])}
		for _, i := range rows[at] {
			blk.add(t, &b.Rows[i], order)
		}
		blk.fold()
		p := piece{blockKey(nil, readings.Policy{Node: t.Node, Name: b.Policy}, at), blk.append(nil)}
		c.pieces = append(c.pieces, p)
		c.size += len(p.key) + len(p.value)
	}
	return c
}

// reasonsOf returns the reasons in some rows, in order.
func reasonsOf(b *reading.Batch, rows []int) (reasons []string) {
	known := make(map[string]bool)
	for _, i := range rows {
		for k := range b.Rows[i].Values {
			if v := &b.Rows[i].Values[k]; v.State == reading.Missing && !known[v.Reason] {
				known[v.Reason] = true
				reasons = append(reasons, v.Reason)
			}
		}
	}
	slices.Sort(reasons)
	return reasons
}

// add puts a row in, whose reasons the block has.
func (b *block) add(t readings.Told, r *reading.Row, order []int) {
	b.rows = append(b.rows, row{
		at: r.At.UnixMilli(), cells: make([]cell, len(order)),
		tellings: []telling{{r.Source, t.Batch.Version, r.Arrived.UnixMilli(), t.Stored.UnixMilli()}},
	})
	out := &b.rows[len(b.rows)-1]
	for i, from := range order {
		v := &r.Values[from]
		out.cells[i] = cell{state: v.State, mantissa: v.Number.Mantissa, exponent: v.Number.Exponent}
		if v.State == reading.Missing {
			reason, _ := slices.BinarySearch(b.reasons, v.Reason)
			out.cells[i].reason = uint16(reason) //nolint:gosec // a batch has no room for as many
		}
	}
	out.tidy()
}

// Run commits what is submitted until ctx ends, then what is still queued, so that
// everything accepted is answered. It returns nil, or the failure that broke the
// store, after which it keeps refusing until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	s.group.Run(ctx, group.Work[change]{Commit: s.commit})
	return s.Err()
}

// commit writes a group in one batch with one sync and answers its members.
func (s *Store) commit(all []change) {
	err := s.Err()
	if err == nil {
		if err = s.write(all); err != nil {
			err = fmt.Errorf("%w: %w", readings.ErrBroken, err)
			s.broken.Store(&err)
		}
	}
	for _, c := range all {
		c.done(err)
	}
}

func (s *Store) write(all []change) (err error) {
	defer logger.Caught(&err)
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, c := range all {
		for _, p := range c.pieces {
			if err := batch.Merge(p.key, p.value, nil); err != nil {
				return err
			}
		}
	}
	return batch.Commit(pebble.Sync)
}
