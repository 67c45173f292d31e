package readings

import (
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// merger puts the pieces of a block together. Its name is in the database: another
// would be another meaning of what is there.
func merger() *pebble.Merger {
	return &pebble.Merger{Name: "gnomon.readings.1", Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		m := new(pieces)
		return m, m.MergeNewer(value)
	}}
}

// pieces are some of one block, in the order in which they were told, as far as
// pebble has come across them: newer and older are those on either side of the first.
type pieces struct{ newer, older []*block }

// MergeNewer implements pebble.ValueMerger.
func (p *pieces) MergeNewer(value []byte) error {
	b, err := parse(value)
	p.newer = append(p.newer, b)
	return err
}

// MergeOlder implements pebble.ValueMerger.
func (p *pieces) MergeOlder(value []byte) error {
	b, err := parse(value)
	p.older = append(p.older, b)
	return err
}

// Finish implements pebble.ValueMerger.
func (p *pieces) Finish(bool) ([]byte, io.Closer, error) {
	all := make([]*block, 0, len(p.older)+len(p.newer))
	for i := len(p.older) - 1; i >= 0; i-- {
		all = append(all, p.older[i])
	}
	return merge(append(all, p.newer...)).append(nil), nil, nil
}
