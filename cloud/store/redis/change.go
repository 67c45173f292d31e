package redis

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"gnomon/cloud/store"
)

// change is a change set on its way to the server.
type change struct {
	thing   string
	names   string // key of the set of the thing's shadows
	hash    uint64 // of thing
	token   []byte
	records []recordChange
	one     [1]recordChange // where records usually are
	bytes   int
	done    func(error)

	// The committer's.
	outcome outcome // of the last try
	written bool
	unsure  bool  // a script was sent and its answer lost: it may have run
	err     error // why it isn't known to be written
}

// outcome is what came of a try.
type outcome int

const (
	untried outcome = iota // plainScript left it alone
	wrote
	conflict
	failed // for the reason in err
)

// recordChange is one record of a change set.
type recordChange struct {
	key   store.Key
	base  store.Sum
	sum   store.Sum // of the data
	name  string    // of the record's key
	value []byte    // empty: nothing is written, the base is only compared
}

// prepare does on the caller's goroutine what the committer needn't. There is a
// record.
func (s *Store) prepare(records []store.Record, done func(error)) *change {
	c := &change{done: done, token: make([]byte, 0, tokenSize)}
	c.token = append(c.token, s.run[:]...)
	c.token = binary.BigEndian.AppendUint64(c.token, s.last.Add(1))
	c.thing = records[0].Key.Thing
	c.names = s.keys.names(c.thing)
	c.hash = xxhash.Sum64String(c.thing)
	c.records = c.one[:0]
	for _, r := range records {
		n := recordChange{key: r.Key, base: r.Base, sum: store.None, name: c.names + ":" + r.Key.Shadow, value: []byte{}}
		if r.Data != nil {
			n.sum = store.SumOf(r.Data)
			n.value = value(n.sum, c.token, r.Data)
		}
		c.bytes += len(n.value) + len(r.Key.Thing) + len(r.Key.Shadow) + 64
		c.records = append(c.records, n)
	}
	return c
}

// writes tells whether the change set is more than a comparison.
func (c *change) writes() bool {
	for i := range c.records {
		if c.records[i].sum != store.None {
			return true
		}
	}
	return false
}

// plain tells whether plainScript may do.
func (c *change) plain() bool {
	return len(c.records) == 1 && c.records[0].base > store.None && c.records[0].sum != store.None
}

// baseArg is what the scripts compare with what is there.
func baseArg(base store.Sum) []byte {
	switch base {
	case store.Any:
		return []byte{}
	case store.None:
		return []byte{'-'}
	default:
		return binary.BigEndian.AppendUint64(nil, uint64(base))
	}
}
