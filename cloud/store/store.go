// Package store is the port to durable storage of shadow records, owned by its
// consumer, the shadow service. What a record holds is not its business.
//
// An adapter promises what storetest checks: what was reported done is there
// after any crash, a change set is there whole or not at all, change sets of
// one thing are reported in the order they were submitted, and scans are in
// order. It never reports success early.
//
// A store has one writer, or it is shared: then several processes write to it,
// and it holds every change to what the change was built on (Record.Base). One
// writer needs no such check, because nobody can come in between.
package store

import (
	"cmp"
	"context"
	"errors"

	"github.com/cespare/xxhash/v2"
)

var (
	// ErrNotFound: there is no record of that key.
	ErrNotFound = errors.New("no such record")
	// ErrClosed: the store is closed or its Run has ended.
	ErrClosed = errors.New("store is closed")
	// ErrBroken: an earlier commit failed, so that nothing more is accepted
	// until the store is opened anew. What was reported done before stands.
	ErrBroken = errors.New("store is broken by a failed commit")
	// ErrConflict: a record is no longer what the change was built on. Nothing
	// of the change set was written. Only shared stores report it.
	ErrConflict = errors.New("record was changed by another writer")
)

// Key names a record: a thing and a shadow of it, "" for the classic one.
// Neither part contains NUL.
type Key struct {
	Thing  string
	Shadow string
}

// Compare orders keys by thing, then shadow.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Thing, other.Thing), cmp.Compare(k.Shadow, other.Shadow))
}

// Record is a key and its bytes.
type Record struct {
	Key  Key
	Data []byte // nil: nothing is written, only Base is compared

	// Base identifies the record that this one was built on. A shared store
	// writes a change set only if all its records still find their bases; one
	// with a single writer doesn't look at it.
	Base Sum
}

// Sum identifies the bytes of a record. What it says is "these very bytes", not
// "this version": so a change that was built on one that failed can't be taken
// for one built on another writer's of the same version.
type Sum uint64

const (
	Any  Sum = 0 // whatever is there
	None Sum = 1 // there is no such record
)

// SumOf returns the Sum of a record's bytes, nil being no record.
func SumOf(data []byte) Sum {
	if data == nil {
		return None
	}
	return max(Sum(xxhash.Sum64(data)), None+1)
}

// Store keeps records. Methods are safe for concurrent use.
type Store interface {
	// Load returns the bytes of a record, which the caller owns, or ErrNotFound.
	Load(ctx context.Context, key Key) ([]byte, error)

	// Submit queues a change set, all records of one thing, to be written
	// atomically. It blocks while the queue is full, until ctx ends. done is
	// called exactly once, unless Submit returns an error, in which case
	// nothing is written and done is never called. done(nil) means durable;
	// done(ErrConflict) that nothing was written; done with any other error that
	// the change set may or may not be there after a restart. It runs on the
	// committer's goroutine and must not block. Data is not changed by the
	// caller afterwards.
	Submit(ctx context.Context, records []Record, done func(error)) error

	// Scan returns up to limit records in key order, beginning with from itself.
	Scan(ctx context.Context, from Key, limit int) ([]Record, error)

	// Things returns up to limit names of things that have a classic record,
	// in order, beginning with from itself.
	Things(ctx context.Context, from string, limit int) ([]string, error)
}

// ThingScanner is implemented by stores for which going on from one thing to
// the next is expensive.
type ThingScanner interface {
	// ScanThing is Scan within one thing: it ends where the thing ends.
	ScanThing(ctx context.Context, from Key, limit int) ([]Record, error)
}

// ScanThing returns up to limit records of one thing in key order, beginning
// with from itself. Fewer mean that the thing has no more.
func ScanThing(ctx context.Context, s Store, from Key, limit int) ([]Record, error) {
	if within, ok := s.(ThingScanner); ok {
		return within.ScanThing(ctx, from, limit)
	}
	records, err := s.Scan(ctx, from, limit)
	for i, r := range records {
		if r.Key.Thing != from.Thing {
			return records[:i], err
		}
	}
	return records, err
}
