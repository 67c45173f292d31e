package trace

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Name is a step of a change.
type Name string

// The steps, in the order in which they happen.
const (
	StepWritten    Name = "written"    // it arrived here
	StepCommitted  Name = "committed"  // it is durable
	StepPublished  Name = "published"  // those who listen have been sent it
	StepDelivered  Name = "delivered"  // acknowledged; by a node, once it is on its disk
	StepPlanned    Name = "planned"    // the node has planned, and begun what it planned
	StepReported   Name = "reported"   // the node has acted on it
	StepFailed     Name = "failed"     // in vain so far, or for good
	StepConverged  Name = "converged"  // what is reported is what is desired
	StepSuperseded Name = "superseded" // a later version came before that
)

// Event is a step that has just happened.
type Event struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // trace
	Thing   string    `json:"thing"`
	Shadow  string    `json:"shadow"` // "" is the classic shadow
	Version uint64    `json:"version"`
	Trace   string    `json:"trace"`
	Step    Name      `json:"step"`
	At      time.Time `json:"at"`
	After   float64   `json:"after"` // milliseconds since the change was written
	Text    string    `json:"text,omitempty"`
}

// KindTrace is the kind of every Event.
const KindTrace = "trace"

// ErrGone: the step to resume after is no longer kept, or is of an earlier run
// of the server. The watcher asks for the story anew and watches from there.
var ErrGone = errors.New("step is no longer kept")

// steps is a ring of the latest steps. As with events, a reader has a place in
// it and no buffer of its own.
type steps struct {
	run     string
	ring    []Event
	last    uint64        // number of the newest, from 1
	changed chan struct{} // closed at the next; nil while nobody waits
}

func newSteps(now time.Time, size int) steps {
	return steps{run: "t" + strconv.FormatInt(now.UnixNano(), 36), ring: make([]Event, 0, size)}
}

// append puts an event in the ring, which grows to its size as it fills.
func (s *steps) append(e Event) {
	s.last++
	if len(s.ring) < cap(s.ring) {
		s.ring = append(s.ring, e)
	} else {
		s.ring[(s.last-1)%uint64(cap(s.ring))] = e
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func (s *steps) id(n uint64) string { return s.run + "-" + strconv.FormatUint(n, 10) }

// emit tells of a step of a change; mu is held.
func (l *Log) emit(c *change, step Name, at time.Time) {
	e := Event{
		Kind: KindTrace, Thing: c.Key.Thing, Shadow: c.Key.Shadow, Version: c.Version, Trace: c.trace,
		Step: step, At: at.UTC(), After: milliseconds(at.Sub(c.Written)), Text: c.text(step),
	}
	l.steps.append(e)
	if l.cfg.Log.Enabled(context.Background(), slog.LevelDebug) {
		l.cfg.Log.Debug("change", "step", string(step), "thing", e.Thing, "shadow", e.Shadow, "version", e.Version, "trace", e.Trace, "text", e.Text)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Subscription is a place in the steps.
type Subscription struct {
	log  *Log
	next uint64
}

// Watch begins after the step with the given id, or with "" at the next.
func (l *Log) Watch(after string) (*Subscription, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after == "" {
		return &Subscription{l, l.steps.last + 1}, nil
	}
	run, number, _ := strings.Cut(after, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || run != l.steps.run || n > l.steps.last || n+uint64(cap(l.steps.ring)) < l.steps.last {
		return nil, ErrGone
	}
	return &Subscription{l, n + 1}, nil
}

// Position returns the id of the step before the next: what to resume after.
func (w *Subscription) Position() string { return w.log.steps.id(w.next - 1) }

// Next waits for the next step. It returns ErrGone when the watcher was too slow.
func (w *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		e, wait, err := w.take()
		if wait == nil {
			return e, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

func (w *Subscription) take() (Event, <-chan struct{}, error) {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.steps
	if w.next > s.last {
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		return Event{}, s.changed, nil
	}
	if w.next+uint64(cap(s.ring)) <= s.last {
		return Event{}, nil, ErrGone
	}
	e := s.ring[(w.next-1)%uint64(cap(s.ring))]
	w.next++
	e.ID = w.Position()
	return e, nil, nil
}

// MissedWords makes every watcher look for itself: words or changes of others
// were lost.
func (l *Log) MissedWords() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.steps
	s.last += uint64(cap(s.ring)) + 1
	s.ring = s.ring[:cap(s.ring)]
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
