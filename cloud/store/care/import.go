package care

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Leap is by how much Restore raises versions: more than a shadow can have
// handed out between the backup and the loss, so that none is used twice.
const Leap = 1 << 32

// ErrCutOff: the stream has no last line, so that more may have been meant.
var ErrCutOff = errors.New("the export was cut off")

// Mode is what a stream is read in for.
type Mode bool

// The modes.
const (
	Restore Mode = false // after a loss: versions leap, so that every node is told anew, and no change-set is left open
	Move    Mode = true  // from a store that nobody has written since: versions stay
)

// Import reads JSON lines into a store. A shadow that the store already has at
// the same or a later version is kept as it is, so an import that was cut off
// can be repeated. It ends at the first line that is wrong and names it, and says
// so when the stream was cut off; what came before is in the store.
func Import(ctx context.Context, r io.Reader, to store.Store, mode Mode) (Result, error) {
	var n Result
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	pending := make(chan error, page)
	outstanding, ended := 0, false
	collect := func(until int) error {
		var all error
		for ; outstanding > until; outstanding-- {
			all = errors.Join(all, <-pending)
		}
		return all
	}
	seen := 0
	for at := 1; lines.Scan(); at++ {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return n, errors.Join(fmt.Errorf("line %d: %w", at, err), collect(0))
		}
		if at == 1 && l.Format != 0 {
			if err := store.CheckFormat(strconv.Itoa(l.Format)); err != nil {
				return n, fmt.Errorf("line 1: %w", err)
			}
			continue
		}
		if ended = l.End; ended {
			if said := l.Shadows + l.Beside; said != seen {
				return n, errors.Join(fmt.Errorf("line %d: %d records were written, %d are here", at, said, seen), collect(0))
			}
			continue
		}
		seen++
		record, err := decode(l, mode)
		if err != nil {
			return n, errors.Join(fmt.Errorf("line %d: %w", at, err), collect(0))
		}
		newer, base, err := wanted(ctx, to, record)
		if err != nil {
			return n, errors.Join(err, collect(0))
		}
		record.Base = base
		if !newer {
			n.Kept++
			continue
		}
		if err := to.Submit(ctx, []store.Record{record}, func(err error) { pending <- err }); err != nil {
			return n, errors.Join(err, collect(0))
		}
		outstanding++
		n.count(record.Key)
		if err := collect(page - 1); err != nil {
			return n, errors.Join(err, collect(0))
		}
	}
	if err := lines.Err(); err != nil {
		return n, errors.Join(fmt.Errorf("after %d records: %w", n.records()+n.Kept, err), collect(0))
	}
	if err := collect(0); err != nil {
		return n, err
	}
	if !ended {
		return n, fmt.Errorf("%w after %d records", ErrCutOff, n.records()+n.Kept)
	}
	return n, nil
}

func decode(l line, mode Mode) (store.Record, error) {
	key := store.Key{Thing: l.Thing, Shadow: l.Shadow}
	if err := checkKey(key); err != nil {
		return store.Record{}, err
	}
	d, err := shadow.ParseRecord(l.Record)
	if err != nil {
		return store.Record{}, err
	}
	if d.Version != l.Version {
		return store.Record{}, fmt.Errorf("version %d is said of a record of version %d", l.Version, d.Version)
	}
	if mode == Move {
		return store.Record{Key: key, Data: l.Record}, nil
	}
	leapt, err := leap(key, d, Leap)
	if err != nil {
		return store.Record{}, err
	}
	return store.Record{Key: key, Data: leapt.AppendRecord(nil)}, nil
}

// wanted tells whether a record is newer than what the store has, and what that
// is, so that nothing written in between is overwritten.
func wanted(ctx context.Context, to store.Store, r store.Record) (newer bool, base store.Sum, err error) {
	data, err := to.Load(ctx, r.Key)
	if errors.Is(err, store.ErrNotFound) {
		return true, store.None, nil
	}
	if err != nil {
		return false, 0, err
	}
	there, err := shadow.ParseRecord(data)
	if err != nil {
		return true, store.SumOf(data), nil //nolint:nilerr // a damaged one is replaced
	}
	ours, err := shadow.ParseRecord(r.Data)
	return err == nil && ours.Version > there.Version, store.SumOf(data), err
}
