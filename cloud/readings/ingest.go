package readings

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gnomon/cloud/identity"
	"gnomon/schema/reading"
	"gnomon/shadow/wire"
)

// Handle takes what a node published of readings, a batch or the answer to a live
// read, and calls done once it has been dealt with: a batch then has its verdict,
// which is what says whether it is stored. body is not kept.
func (s *Service) Handle(ctx context.Context, p identity.Principal, topic wire.Readings, batch bool, body []byte, done func(error)) {
	if p.Kind != identity.Operator && (p.Kind != identity.Thing || p.Name != topic.Thing) {
		s.metrics.batches.WithLabelValues("forbidden").Inc()
		done(nil)
		return
	}
	if !batch {
		s.answered(topic.Thing, body)
		done(nil)
		return
	}
	s.batch(ctx, topic, body, func(v reading.Verdict, outcome string) {
		s.metrics.batches.WithLabelValues(outcome).Inc()
		to := topic.Accepted()
		if v.Code != 0 {
			to = topic.Rejected()
		}
		s.cfg.Publisher.Publish(to, v.Append(nil))
		done(nil)
	})
}

// batch has a batch stored, and gives its verdict once.
func (s *Service) batch(ctx context.Context, topic wire.Readings, body []byte, verdict func(reading.Verdict, string)) {
	began := s.cfg.Now()
	id := batchID(body)
	s.decode <- struct{}{}
	b, err := reading.Decode(body)
	<-s.decode
	if err == nil {
		err = s.admit(b)
	}
	if err != nil {
		s.cfg.Log.Warn("a batch of readings is rejected", "node", topic.Thing, "batch", id, "error", err)
		verdict(reading.Verdict{ID: id, Code: http.StatusBadRequest, Message: err.Error()}, "rejected")
		return
	}
	if len(b.Rows) == 0 { // all of it is older than what is kept
		verdict(reading.Verdict{ID: id}, "accepted")
		return
	}
	told := Told{Node: topic.Thing, Batch: b, Stored: reading.Milli(began)}
	size := told.Size() + laidOut(b)
	if err := s.enter(topic.Thing, size); err != nil {
		verdict(reading.Verdict{ID: id, Code: http.StatusTooManyRequests, Message: err.Error()}, "busy")
		return
	}
	stored := func(err error) {
		s.leave(topic.Thing, size)
		if err != nil {
			s.cfg.Log.Error("a batch of readings is not stored", "node", topic.Thing, "batch", id, "error", err)
			verdict(reading.Verdict{ID: id, Code: http.StatusServiceUnavailable, Message: err.Error()}, "failed")
			return
		}
		s.metrics.stored(told)
		for _, f := range s.cfg.Followers {
			f.Stored(told)
		}
		s.metrics.seconds.Observe(s.cfg.Now().Sub(began).Seconds())
		verdict(reading.Verdict{ID: id}, "accepted")
	}
	if err := s.cfg.Sink.Submit(ctx, told, stored); err != nil {
		stored(err)
	}
}

// batchID is the ID of a batch that may not be one: it follows the version, in all
// versions.
func batchID(body []byte) uint64 {
	if len(body) == 0 {
		return 0
	}
	id, n := binary.Uvarint(body[1:])
	if n <= 0 {
		return 0
	}
	return id
}

// admit refuses what is of a time that can't be, and leaves out what is older than
// what is kept: it would go at once.
func (s *Service) admit(b *reading.Batch) error {
	latest, oldest := s.cfg.Now().Add(s.cfg.Future), s.oldest()
	kept := b.Rows[:0]
	for i := range b.Rows {
		r := &b.Rows[i]
		if r.At.After(latest) {
			return fmt.Errorf("rows[%d] of meter %s: at %s is more than %s ahead of the cloud's clock: is the node's clock, or the meter's, right?", i, r.Meter, r.At.Format(time.RFC3339), s.cfg.Future)
		}
		if r.At.Before(oldest) {
			s.metrics.old.Inc()
			continue
		}
		kept = append(kept, *r)
	}
	b.Rows = kept
	return nil
}

// laidOut is about what a batch takes as a sink writes it, in bytes, which is beside
// it meanwhile.
func laidOut(b *reading.Batch) int {
	names := 0
	for _, item := range b.Items {
		names += len(item) + 2
	}
	return len(b.Rows) * (128 + names + 16*len(b.Items))
}

var errBusy = errors.New("too much is on its way to disk; send it again later")

// enter makes room for a batch on its way to disk.
func (s *Service) enter(node string, size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.nodes[node]
	if l.batches >= s.cfg.PerNode || s.under >= s.cfg.Batches || s.held > 0 && s.held+size > s.cfg.HeldBytes || l.bytes > 0 && l.bytes+size > s.cfg.HeldBytes/4 {
		return errBusy
	}
	s.held += size
	s.under++
	s.nodes[node] = load{l.batches + 1, l.bytes + size}
	return nil
}

func (s *Service) leave(node string, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= size
	s.under--
	l := s.nodes[node]
	if l = (load{l.batches - 1, l.bytes - size}); l.batches == 0 {
		delete(s.nodes, node)
		return
	}
	s.nodes[node] = l
}
