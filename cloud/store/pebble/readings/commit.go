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

// place is where a row of a batch is written.
type place struct {
	meter string
	piece uint32
}

// layOut makes a block of each meter's rows in each piece of time.
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
		at := place{b.Rows[i].Meter, pieceOf(b.Rows[i].At.UnixMilli())}
		if rows[at] == nil {
			places = append(places, at)
		}
		rows[at] = append(rows[at], i)
	}
	var c change
	for _, at := range places {
		blk := &block{items: items}
		for _, i := range rows[at] {
			blk.add(t, &b.Rows[i], order)
		}
		blk.fold()
		p := piece{blockKey(nil, readings.Policy{Node: t.Node, Name: b.Policy}, at.piece, at.meter), blk.append(nil)}
		c.pieces = append(c.pieces, p)
		c.size += len(p.key) + len(p.value)
	}
	return c
}

// add puts a row in. Reasons are few: those of a block are kept in order.
func (b *block) add(t readings.Told, r *reading.Row, order []int) {
	b.rows = append(b.rows, row{
		at: r.At.UnixMilli(), cells: make([]cell, len(order)),
		tellings: []telling{{r.Source, t.Batch.Version, r.Arrived.UnixMilli(), t.Stored.UnixMilli()}},
	})
	out := &b.rows[len(b.rows)-1]
	for i, from := range order {
		v := &r.Values[from]
		out.cells[i] = cell{state: v.State, number: v.Number}
		if v.State == reading.Missing {
			out.cells[i].reason = b.reason(v.Reason)
		}
	}
	out.tidy()
}

// reason returns the place of a reason, which may be a new one: then those behind
// it move.
func (b *block) reason(text string) int {
	i, there := slices.BinarySearch(b.reasons, text)
	if there {
		return i
	}
	b.reasons = slices.Insert(b.reasons, i, text)
	for r := range b.rows {
		for c := range b.rows[r].cells {
			if k := &b.rows[r].cells[c]; k.state == reading.Missing && k.reason >= i {
				k.reason++
			}
		}
	}
	return i
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
