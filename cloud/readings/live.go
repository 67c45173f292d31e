package readings

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"gnomon/cloud/identity"
	"gnomon/schema/reading"
	"gnomon/shadow/wire"
)

var (
	// ErrForbidden: the principal may not ask.
	ErrForbidden = &wire.Error{Code: wire.CodeForbidden, Message: "Forbidden"}
	// ErrOffline: the node doesn't listen.
	ErrOffline = errors.New("node is offline")
	// ErrLate: the node was asked and hasn't answered in time.
	ErrLate = errors.New("no answer in time")
	// ErrBusy: as many live reads as may be are under way.
	ErrBusy = errors.New("too many live reads are under way; try again")
)

// reads are live reads that wait for their answers.
type reads struct {
	mu      sync.Mutex
	waiting map[string]asked // by ID of the request
}

// asked is a node of which an answer is awaited.
type asked struct {
	node  string
	heard chan<- *reading.Answer
}

// late is how much longer than the node's deadline its answer may take, on its way.
const late = 2 * time.Second

// Read asks a node for what a meter has, now, and waits for its answer. r needs no
// ID. The error is ErrMessage of reading, ErrOffline, ErrLate, ErrBusy or that of ctx.
func (s *Service) Read(ctx context.Context, p identity.Principal, node string, r reading.Read) (*reading.Answer, error) {
	if p.Kind != identity.Operator {
		return nil, ErrForbidden
	}
	a, err := s.read(ctx, node, r)
	outcome := "answered"
	switch {
	case errors.Is(err, ErrOffline):
		outcome = "offline"
	case errors.Is(err, ErrLate), errors.Is(err, context.DeadlineExceeded):
		outcome = "late"
	case errors.Is(err, ErrBusy):
		outcome = "busy"
	case err != nil:
		outcome = "failed"
	case a.Error != nil:
		outcome = "refused"
	}
	s.metrics.live.WithLabelValues(outcome).Inc()
	return a, err
}

func (s *Service) read(ctx context.Context, node string, r reading.Read) (*reading.Answer, error) {
	r.ID = rand.Text()
	if err := r.Check(); err != nil {
		return nil, err
	}
	topic := wire.Readings{Thing: node}
	if s.cfg.Listening != nil && !s.cfg.Listening(topic.Read()) {
		return nil, fmt.Errorf("%w: %s is not connected to this server", ErrOffline, node)
	}
	heard := make(chan *reading.Answer, 1)
	if !s.reads.wait(r.ID, asked{node, heard}, s.cfg.Reads) {
		return nil, ErrBusy
	}
	defer s.reads.forget(r.ID)
	deadline := time.Duration(r.Deadline) * time.Millisecond
	timer := time.NewTimer(deadline + late)
	defer timer.Stop()
	s.cfg.Publisher.Publish(topic.Read(), r.Append(nil))
	select {
	case a := <-heard:
		return a, nil
	case <-timer.C:
		return nil, fmt.Errorf("%w: %s has said nothing for %s", ErrLate, node, deadline+late)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *reads) wait(id string, a asked, most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= most {
		return false
	}
	r.waiting[id] = a
	return true
}

func (r *reads) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, id)
}

// answered hands an answer to whoever asked.
func (s *Service) answered(node string, body []byte) {
	a, err := reading.ParseAnswer(body)
	if err != nil {
		s.cfg.Log.Warn("an answer to a live read can't be read", "node", node, "error", err)
		return
	}
	s.reads.mu.Lock()
	defer s.reads.mu.Unlock()
	if w, ok := s.reads.waiting[a.ID]; ok && w.node == node { // else it came too late, or is another's to give
		delete(s.reads.waiting, a.ID)
		w.heard <- &a // has room for one
	}
}
