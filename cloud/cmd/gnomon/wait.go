package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"gnomon/cloud/cmd/gnomon/internal/client"
)

// look is how often a wait looks even without an event: events say where to
// look, but what was asked for is the truth.
const look = 5 * time.Second

// await calls done until it is, after every event of the things and now and
// then, for at most limit. Streams that break are opened again.
func (s *session) await(ctx context.Context, limit time.Duration, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	changed := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.signal(ctx, changed)
	}()
	defer func() { cancel(); <-ended }()
	for {
		ok, err := done(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-time.After(look):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// signal keeps an event stream open and notes that something changed.
func (s *session) signal(ctx context.Context, changed chan<- struct{}) {
	after := ""
	for ctx.Err() == nil {
		next, err := s.Events(ctx, after, url.Values{}, func(client.Event) error {
			select {
			case changed <- struct{}{}:
			default:
			}
			return nil
		})
		after = next
		var answer *client.Error
		if errors.As(err, &answer) && answer.Status == http.StatusGone {
			after = ""
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// converge waits until all that was applied has converged, and says on the way
// what changes.
func (s *session) converge(ctx context.Context, progress io.Writer, list []wanted, limit time.Duration) ([]*client.Resource, error) {
	last := make([]string, len(list))
	current := make([]*client.Resource, len(list))
	started := time.Now()
	err := s.await(ctx, limit, func(ctx context.Context) (bool, error) {
		all := true
		for i, w := range list {
			if current[i] != nil && current[i].Status.Converged {
				continue
			}
			r, err := s.Get(ctx, w.Ref)
			if err != nil {
				return false, err
			}
			current[i] = r
			state := stateOf(r)
			if state != last[i] {
				fmt.Fprintf(progress, "%6.1fs  %-28s %s\n", time.Since(started).Seconds(), w.Ref, state)
				last[i] = state
			}
			if f := r.Status.Fault; f != nil && !f.Retryable && r.Status.ObservedVersion >= r.DesiredVersion {
				return false, fmt.Errorf("%s failed: %s (%s); see: gnomon explain %s", w.Ref, f.Message, f.Code, w.Ref)
			}
			all = all && r.Status.Converged
		}
		return all, nil
	})
	if errors.Is(err, errTimeout) {
		for i, w := range list {
			if current[i] == nil || !current[i].Status.Converged {
				fmt.Fprintf(progress, "not converged: %s; see: gnomon explain %s\n", w.Ref, w.Ref)
			}
		}
	}
	return current, err
}

// stateOf says how far a resource is in a few words.
func stateOf(r *client.Resource) string {
	text, then := r.Status.Phase, ", " // a node has no phase
	if text == "" {
		then = ""
	}
	switch f, n := r.Status.Fault, len(r.Status.Pending); {
	case r.Status.Converged:
		return text + then + "converged"
	case f != nil && text == "":
		return f.Message
	case f != nil:
		return text + ": " + f.Message
	case n > 0:
		return fmt.Sprintf("%s%s%d pending", text, then, n)
	default:
		return text
	}
}
