package collect

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"gnomon/schema"
	"gnomon/schema/reading"
)

const (
	putRows   = 64              // that are put together
	putWithin = 2 * time.Second // a row waits for others
)

// sheet gathers rows for the Store, so that it isn't asked for every meter. It
// promises that a row is put with those of some seconds, and in the end by flush.
type sheet struct {
	*runner

	mu     sync.Mutex
	groups map[string]*Rows // by items
	rows   int
	since  time.Time // of the oldest
	failed error     // why the Store didn't take some
}

func (r *runner) sheet() *sheet { return &sheet{runner: r, groups: make(map[string]*Rows)} }

// add takes a row, whose values are in the order of items.
func (s *sheet) add(items []schema.Item, row reading.Row) {
	if s.engine.cfg.Store == nil {
		return
	}
	names := make([]string, len(items))
	for i, it := range items {
		names[i] = it.Name
	}
	s.mu.Lock()
	key := strings.Join(names, " ")
	g := s.groups[key]
	if g == nil {
		g = &Rows{Policy: s.name, Items: names}
		s.groups[key] = g
	}
	g.Rows = append(g.Rows, row)
	if s.rows++; s.rows == 1 {
		s.since = time.Now()
	}
	due := s.rows >= putRows || time.Since(s.since) >= putWithin
	s.mu.Unlock()
	if due {
		s.flush()
	}
}

// flush puts what was gathered.
func (s *sheet) flush() {
	s.mu.Lock()
	groups := s.groups
	s.groups, s.rows = make(map[string]*Rows), 0
	s.mu.Unlock()
	for _, g := range groups {
		g.Version = s.version()
		if err := s.engine.cfg.Store.Put(*g); err != nil {
			s.mu.Lock()
			first := s.failed == nil
			s.failed = err
			s.mu.Unlock()
			if first {
				s.engine.cfg.Log.Warn("readings are not kept", "policy", s.name, "error", err)
			}
		}
	}
}

// err is why the Store didn't take some rows.
func (s *sheet) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// row makes a row of what was read of a meter in a cycle: what has no value is
// missing for a reason.
func (r *runner) row(meter string, at time.Time, items []schema.Item, values map[string]Value) reading.Row {
	row := reading.Row{Meter: meter, At: at.UTC(), Arrived: r.arrived(), Source: reading.Cycle, Values: make([]reading.Value, len(items))}
	for i, it := range items {
		row.Values[i] = valueOf(values[it.Name])
	}
	return row
}

// arrived is now as rows have it.
func (r *runner) arrived() time.Time { return r.engine.cfg.Now().UTC().Truncate(time.Millisecond) }

// valueOf is a value as rows have it.
func valueOf(v Value) reading.Value {
	if v.Value == nil {
		return reading.Value{State: reading.Missing, Reason: Reason(v.Err)}
	}
	n, ok := reading.NumberOf(v.Value)
	if !ok {
		return reading.Value{State: reading.Missing, Reason: Reason(ErrNotNumber)}
	}
	return reading.Value{State: reading.Good, Number: n}
}

// unheard tells whether a meter was not heard of: it says nothing of what it keeps.
func unheard(err error) bool {
	for _, reason := range []error{ErrTimeout, ErrLink, ErrSkipped, ErrBusy, ErrGivenUp, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// silent tells whether a meter was asked, and kept silent.
func silent(err error) bool { return errors.Is(err, ErrTimeout) || errors.Is(err, ErrSkipped) }
