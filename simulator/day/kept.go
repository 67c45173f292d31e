package day

import (
	"sync"

	"gnomon/edge/collect"
	"gnomon/schema/reading"
)

// promises are what the node's store has said it keeps: it must reach the cloud as
// it was, and not be read again because it was lost.
type promises struct {
	mu   sync.Mutex
	kept map[string]map[point]reading.Source // by policy
}

// promising is a store whose word is noted.
type promising struct {
	collect.Store
	*promises
}

// Put implements collect.Store.
func (s promising) Put(rows collect.Rows) error {
	if err := s.Store.Put(rows); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = make(map[string]map[point]reading.Source)
	}
	of := s.kept[rows.Policy]
	if of == nil {
		of = make(map[point]reading.Source)
		s.kept[rows.Policy] = of
	}
	for i := range rows.Rows {
		r := &rows.Rows[i]
		for k, v := range r.Values {
			p := point{r.Meter, r.At.Unix(), rows.Items[k]}
			if _, before := of[p]; v.State == reading.Good && !before {
				of[p] = r.Source
			}
		}
	}
	return nil
}

// broken counts what of a policy isn't there as it was promised.
func (s *promises) broken(policy string, l *ledger) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, source := range s.kept[policy] {
		if l.good[p] != source {
			n++
		}
	}
	return n
}
