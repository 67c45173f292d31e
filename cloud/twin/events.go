package twin

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Event says that a shadow changed and how far it has converged since. It says
// where to look; the document is the truth.
type Event struct {
	ID             string `json:"id"`
	Kind           string `json:"kind"` // updated or deleted
	Thing          string `json:"thing"`
	Shadow         string `json:"shadow"` // "" is the classic shadow
	Version        uint64 `json:"version"`
	DesiredVersion uint64 `json:"desiredVersion"`
	Desired        bool   `json:"desired"`  // the update named desired
	Reported       bool   `json:"reported"` // the update named reported
	Phase          string `json:"phase,omitempty"`
	Converged      bool   `json:"converged"`
	Timestamp      int64  `json:"timestamp"`

	document *shadow.Document // for Config.Committed; not kept
}

func eventOf(key store.Key, next *shadow.Document, u *shadow.Update, delta *shadow.Value) Event {
	e := Event{
		Kind: "updated", Thing: key.Thing, Shadow: key.Shadow,
		Version: next.Version, DesiredVersion: next.DesiredVersion,
		Desired: u.Desired.Present, Reported: u.Reported.Present, Timestamp: next.Timestamp,
		document: next,
	}
	if next.Deleted {
		e.Kind = "deleted"
	}
	status := statusOf(key.Shadow, next, delta)
	e.Phase, e.Converged = status.Phase, status.Converged
	return e
}

// ErrEventGone: the event to resume after is no longer kept, or is of an earlier
// run of the server. The watcher reads the shadows anew and watches from there.
var ErrEventGone = errors.New("event is no longer kept")

// eventLog is a ring of the latest events. Readers have a place in it and no
// buffer of their own; one that falls behind by the whole ring has lost.
type eventLog struct {
	run       string // tells the ids of this run from those of others
	committed func(key store.Key, doc *shadow.Document, position uint64)

	mu      sync.Mutex
	ring    []Event
	last    uint64        // sequence of the newest event, from 1
	changed chan struct{} // closed at the next event; nil while nobody waits
}

func newEventLog(run string, size int) *eventLog {
	return &eventLog{run: run, ring: make([]Event, size)}
}

func (l *eventLog) append(e Event) {
	l.mu.Lock()
	l.last++
	if l.committed != nil && e.document != nil {
		l.committed(store.Key{Thing: e.Thing, Shadow: e.Shadow}, e.document, l.last)
	}
	e.document = nil // the ring says where to look, and would keep what is long replaced
	l.ring[l.last%uint64(len(l.ring))] = e
	changed := l.changed
	l.changed = nil
	l.mu.Unlock()
	if changed != nil {
		close(changed)
	}
}

// lose makes every place in the events one that has fallen behind.
func (l *eventLog) lose() {
	l.mu.Lock()
	l.last += uint64(len(l.ring)) + 1 // beyond those that were up to date, too
	changed := l.changed
	l.changed = nil
	l.mu.Unlock()
	if changed != nil {
		close(changed)
	}
}

// Subscription is a place in the events.
type Subscription struct {
	log  *eventLog
	next uint64
}

// Watch begins after the event with the given id, or with "" at the next event.
func (s *Service) Watch(p identity.Principal, after string) (*Subscription, error) {
	if err := authorize(p, actionList, ""); err != nil {
		return nil, err
	}
	l := s.events
	l.mu.Lock()
	defer l.mu.Unlock()
	if after == "" {
		return &Subscription{log: l, next: l.last + 1}, nil
	}
	run, seq, _ := strings.Cut(after, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil || run != l.run || n > l.last || n+uint64(len(l.ring)) <= l.last {
		return nil, ErrEventGone
	}
	return &Subscription{log: l, next: n + 1}, nil
}

// Position returns the id of the event before the next: what to resume after.
func (w *Subscription) Position() string {
	return w.log.id(w.next - 1)
}

func (l *eventLog) id(sequence uint64) string { return l.run + "-" + strconv.FormatUint(sequence, 10) }

// EventID returns the id of the event at a position that Config.Committed was
// told: what to watch after, to hear of everything since.
func (s *Service) EventID(position uint64) string { return s.events.id(position) }

// Next waits for the next event. It returns ErrEventGone when the watcher was
// too slow.
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

// take returns the next event, or what to wait for.
func (w *Subscription) take() (Event, <-chan struct{}, error) {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.next > l.last {
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		return Event{}, l.changed, nil
	}
	if w.next+uint64(len(l.ring)) <= l.last {
		return Event{}, nil, ErrEventGone
	}
	e := l.ring[w.next%uint64(len(l.ring))]
	w.next++
	e.ID = w.Position()
	return e, nil, nil
}
