package readings

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/schema/reading"
)

var (
	// ErrNoStore: this cloud keeps no readings, it hands them on.
	ErrNoStore = errors.New("this replica keeps no readings: it hands them to its sink (--readings-dir), where they are to be looked for; " +
		"a cloud with a directory of its own (--data, without --store) answers questions about readings")
	// ErrClosed: the store is closed or its Run has ended.
	ErrClosed = errors.New("store of readings is closed")
	// ErrBroken: an earlier commit failed, so that nothing more is accepted until
	// the store is opened anew. What was reported done before stands.
	ErrBroken = errors.New("store of readings is broken by a failed commit")
)

// Sink takes batches and keeps them on disk, or with somebody who does.
type Sink interface {
	// Submit queues what a node told. It blocks while the queue is full, until ctx
	// ends. done is called exactly once, unless Submit returns an error, in which
	// case nothing is written and done is never called. done(nil) means durable;
	// any other error that all of it may be there, or nothing. It runs on the
	// committer's goroutine and must not block. t isn't changed afterwards.
	Submit(ctx context.Context, t Told, done func(error)) error
}

// Nowhere is the sink of a replica that was told none: it refuses.
type Nowhere struct{}

// Submit implements Sink.
func (Nowhere) Submit(context.Context, Told, func(error)) error { return errNowhere }

// Unusable is what there is of a store that can't be opened: it refuses everything.
type Unusable struct{ Why error }

// ErrUnusable: the store can't be used, for the reason it is wrapped with, until the
// cloud is started again without that.
var ErrUnusable = errors.New("the store of readings can't be used")

// Err is ErrUnusable with its reason.
func (u Unusable) Err() error { return fmt.Errorf("%w: %w", ErrUnusable, u.Why) }

// Submit implements Sink.
func (u Unusable) Submit(context.Context, Told, func(error)) error { return u.Err() }

// Scan implements Store.
func (u Unusable) Scan(context.Context, Scan, func(*Row) bool) error { return u.Err() }

// Policies implements Store.
func (u Unusable) Policies(context.Context, Policy, int) ([]Policy, error) { return nil, u.Err() }

// Expire implements Store. There is nothing to forget.
func (u Unusable) Expire(context.Context, time.Time) error { return nil }

var errNowhere = errors.New("this replica has no place for readings: start it with --readings-dir")

// Told is a batch with who told it, and when.
type Told struct {
	Node   string
	Batch  *reading.Batch
	Stored time.Time // by the cloud's clock
}

// Size is about what it takes in memory, in bytes. Values that are missing or absent
// take as much as others, and rows that were left out are held with the rest.
func (t Told) Size() int {
	const batch, row, value = 512, 128, 40
	size := batch + cap(t.Batch.Rows)*(row+value*len(t.Batch.Items))
	for _, item := range t.Batch.Items {
		size += 16 + len(item)
	}
	return size
}

// Store is a Sink whose readings can be looked up. A value is told by its node,
// policy, meter, item and time; what is told first stays, but for a missing one,
// which a good one fills. Methods are safe for concurrent use.
type Store interface {
	Sink

	// Scan calls each with the rows of a policy, in order of Position, until it
	// returns false. A Row is good until each returns. Not much more is read once ctx
	// has ended.
	Scan(ctx context.Context, q Scan, each func(*Row) bool) error

	// Policies lists the policies of which there are readings, at most limit, in
	// order, beginning with from itself.
	Policies(ctx context.Context, from Policy, limit int) ([]Policy, error)

	// Expire forgets readings of times before one; some may stay, for less than
	// Piece longer.
	Expire(ctx context.Context, before time.Time) error
}

// Policy names a policy of a node.
type Policy struct{ Node, Name string }

// Piece is what readings are laid out in: those of one policy and one such stretch
// of time, by 1970 in UTC, lie together, by meter.
const Piece = 4 * time.Hour

// Position is where a row is among those of its policy: in its piece, by its
// meter, by its time.
type Position struct {
	Meter string
	At    int64 // milliseconds since 1970
}

// Scan says which rows of a policy are wanted.
type Scan struct {
	Policy
	Meter    string    // "" = all
	From, To time.Time // To itself isn't wanted
	After    *Position // of the last row that is known; nil = from the beginning
}

// Row is what one meter had at one time.
type Row struct {
	Meter  string
	At     int64    // milliseconds since 1970, which the values are of
	Items  []string // in order
	Values []Value  // one for each of Items
}

// Value is that of one item, with how it came. An absent one has nothing else.
type Value struct {
	reading.Value
	Source  reading.Source
	Version uint64 // of the policy's shadow when it was read
	Arrived int64  // when it reached the node, by its clock, in milliseconds since 1970
	Stored  int64  // when the cloud took it, likewise
}

// Supersedes tells whether a value told later takes the place of one told earlier.
func Supersedes(later, earlier reading.State) bool {
	return earlier == reading.Absent && later != reading.Absent || earlier == reading.Missing && later == reading.Good
}
