package readings

import (
	"io"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// merger puts the pieces of a block together. Its name is in the database: another
// would be another meaning of what is there.
func merger(within bounds, log *slog.Logger) *pebble.Merger {
	return &pebble.Merger{Name: "gnomon.readings.1", Merge: func(key, value []byte) (pebble.ValueMerger, error) {
		of, at, ok := parseKey(key)
		w := within
		w.legacy = ok && at.stretch == 0
		p := &pieces{within: w, cut: func() {
			log.Error("a meter has more readings than any policy gives it: some are left out", "node", of.Node, "policy", of.Name, "meter", at.meter)
		}}
		return p, p.MergeNewer(value)
	}}
}

// pieces are some of one block, in the order in which they were told, as far as
// pebble has come across them: newer and older are those on either side of the first.
// Those that there are many of are put together on the way, so that a block that is
// told again and again takes little more memory than once.
type pieces struct {
	newer, older []*block
	held         int // what they take, in cells
	limit        int // of held, beyond which they are put together
	within       bounds
	cut          func() // called when something is left out
}

// slack is what pieces may take at least, in cells: as much as four batches.
const slack = 256 << 10

// MergeNewer implements pebble.ValueMerger.
func (p *pieces) MergeNewer(value []byte) error { return p.add(&p.newer, value) }

// MergeOlder implements pebble.ValueMerger.
func (p *pieces) MergeOlder(value []byte) error { return p.add(&p.older, value) }

func (p *pieces) add(to *[]*block, value []byte) error {
	b, err := parse(value)
	if err != nil {
		return err
	}
	*to = append(*to, b)
	if p.held += b.size(); p.held > max(p.limit, slack) {
		several := len(p.older)+len(p.newer) > 1
		if one := p.fold(); several {
			one.own() // else held would be less than what is held
		}
	}
	return nil
}

// fold makes one of the pieces. The next time is when there is as much again, so that
// each is put together with others few times.
func (p *pieces) fold() *block {
	all := make([]*block, 0, len(p.older)+len(p.newer))
	for i := len(p.older) - 1; i >= 0; i-- {
		all = append(all, p.older[i])
	}
	one := merge(append(all, p.newer...), p.within)
	p.newer, p.older = []*block{one}, nil
	p.held = one.size()
	p.limit = 2 * p.held
	if one.cut {
		one.cut = false
		p.cut()
	}
	return one
}

// Finish implements pebble.ValueMerger.
func (p *pieces) Finish(bool) ([]byte, io.Closer, error) {
	return p.fold().append(nil), nil, nil
}
