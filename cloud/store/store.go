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
	"fmt"
	"strconv"
	"strings"

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

// Internal tells whether the record is none of a shadow but kept beside them, by
// and for the service: no client can name it, because no shadow's name begins
// with #. It is a document in form, so that whatever looks after a store as a
// whole treats it alike.
func (k Key) Internal() bool { return strings.HasPrefix(k.Shadow, InternalPrefix) }

// InternalPrefix begins the shadow part of internal keys. It sorts behind the
// classic shadow and before all named ones.
const InternalPrefix = "#"

// Format is the number of the data format that this version writes, whatever the
// adapter. Older ones are read, newer ones refused.
//
//	1  shadows
//	2  internal records beside them: histories and change-sets; no list of things beside the records
const Format = 2

// CheckFormat judges the number that a store, or an export of one, says it was
// written with.
func CheckFormat(number string) error {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return fmt.Errorf("data format %q is none that gnomon writes (1 to %d): is this a store of gnomon's?", number, Format)
	}
	if n > Format {
		return fmt.Errorf("data format %d is newer than this gnomon reads (%d); run the version that wrote it, or a later one", n, Format)
	}
	return nil
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
