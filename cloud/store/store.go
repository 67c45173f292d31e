// Package store is the port to durable storage of shadow records, owned by its
// consumer, the shadow service. What a record holds is not its business.
//
// An adapter promises what storetest checks: what was reported done is there
// after any crash, a change set is there whole or not at all, change sets of
// one thing are reported in the order they were submitted, and scans are in
// order. It never retries and never reports success early.
package store

import (
	"cmp"
	"context"
	"errors"
)

var (
	// ErrNotFound: there is no record of that key.
	ErrNotFound = errors.New("no such record")
	// ErrClosed: the store is closed or its Run has ended.
	ErrClosed = errors.New("store is closed")
	// ErrBroken: an earlier commit failed, so that nothing more is accepted
	// until the store is opened anew. What was reported done before stands.
	ErrBroken = errors.New("store is broken by a failed commit")
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
	Data []byte
}

// Store keeps records. Methods are safe for concurrent use.
type Store interface {
	// Load returns the bytes of a record, which the caller owns, or ErrNotFound.
	Load(ctx context.Context, key Key) ([]byte, error)

	// Submit queues a change set, all records of one thing, to be written
	// atomically. It blocks while the queue is full, until ctx ends. done is
	// called exactly once, unless Submit returns an error, in which case
	// nothing is written and done is never called. done(nil) means durable;
	// done(err) that the change set may or may not be there after a restart. It
	// runs on the committer's goroutine and must not block. Data is not
	// changed by the caller afterwards.
	Submit(ctx context.Context, records []Record, done func(error)) error

	// Scan returns up to limit records in key order, beginning with from itself.
	Scan(ctx context.Context, from Key, limit int) ([]Record, error)

	// Things returns up to limit names of things that have a classic record,
	// in order, beginning with from itself.
	Things(ctx context.Context, from string, limit int) ([]string, error)
}
