package upward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema/reading"
)

// MaxReads bounds the requests that are dealt with at a time.
const MaxReads = 4

// Meters reads meters now.
type Meters interface {
	// Read reads a meter of a policy ahead of what is read in cycles, and returns
	// the latest of all its items. The error is collect.ErrUnknown where there is
	// no such policy or meter.
	Read(ctx context.Context, policy, meter string) (map[string]collect.Reading, error)
}

// Kept is what is kept of a meter.
type Kept interface {
	Latest(ctx context.Context, policy, meter string, items []string) (map[string]reading.ReadValue, error)
}

// Reader answers requests for what a meter has, from the meter or from the store,
// MaxReads at a time.
type Reader struct {
	meters Meters
	kept   Kept
	places chan struct{}

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before and after. Kept because requests come from elsewhere.
	running sync.WaitGroup
}

// NewReader returns a reader.
func NewReader(meters Meters, kept Kept) *Reader {
	return &Reader{meters: meters, kept: kept, places: make(chan struct{}, MaxReads)}
}

// Run deals with requests of the cloud until ctx ends, and then waits for those
// under way.
func (r *Reader) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	r.ctx = nil
	r.mu.Unlock()
	r.running.Wait()
	return nil
}

// ask deals with a request of the cloud, and tells to what became of it.
func (r *Reader) ask(payload []byte, to func(*reading.Answer)) {
	req, err := reading.ParseRead(payload)
	if err != nil {
		if reading.ValidID(req.ID) {
			to(&reading.Answer{ID: req.ID, Error: &reading.Refusal{Code: reading.RefusedInvalid, Message: err.Error()}})
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Duration(req.Deadline)*time.Millisecond)
	if !r.enter() {
		cancel()
		to(refused(&req, reading.RefusedBusy, "%d meters are being read, which is the limit", MaxReads))
		return
	}
	r.running.Go(func() {
		defer cancel()
		a := r.read(ctx, &req)
		r.leave() // before it is told: whoever has it may ask again
		to(a)
	})
}

func (r *Reader) enter() bool {
	select {
	case r.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *Reader) leave() { <-r.places }

// Read deals with a request; what became of it is in the answer.
func (r *Reader) Read(ctx context.Context, req *reading.Read) *reading.Answer {
	if err := req.Check(); err != nil {
		return refused(req, reading.RefusedInvalid, "%v", err)
	}
	if !r.enter() {
		return refused(req, reading.RefusedBusy, "%d meters are being read, which is the limit", MaxReads)
	}
	defer r.leave()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(req.Deadline)*time.Millisecond)
	defer cancel()
	return r.read(ctx, req)
}

func refused(req *reading.Read, code, format string, args ...any) *reading.Answer {
	message := fmt.Sprintf(format, args...)
	return &reading.Answer{ID: req.ID, Error: &reading.Refusal{Code: code, Message: message}}
}

func (r *Reader) read(ctx context.Context, req *reading.Read) *reading.Answer {
	if !req.Live {
		values, err := r.kept.Latest(ctx, req.Policy, req.Meter, req.Items)
		switch {
		case err != nil:
			return refused(req, late(err, reading.RefusedFailed), "%v", err)
		case len(values) == 0:
			return refused(req, reading.RefusedNone, "nothing of meter %s of policy %s is kept here; ask with live", req.Meter, req.Policy)
		}
		return &reading.Answer{ID: req.ID, Values: values}
	}
	latest, err := r.meters.Read(ctx, req.Policy, req.Meter)
	if errors.Is(err, collect.ErrUnknown) {
		return refused(req, reading.RefusedUnknown, "no policy %s with a meter %s is in force", req.Policy, req.Meter)
	}
	for _, item := range req.Items {
		if _, ok := latest[item]; !ok && len(latest) > 0 {
			return refused(req, reading.RefusedUnknown, "meter %s of policy %s has no item %s; it has %s",
				req.Meter, req.Policy, item, slices.Sorted(maps.Keys(latest)))
		}
	}
	a := &reading.Answer{ID: req.ID, Values: valuesOf(latest, req.Items)}
	if err != nil {
		a.Error = &reading.Refusal{Code: late(err, reading.RefusedFailed), Message: err.Error()}
	}
	return a
}

// late is the code of an error.
func late(err error, otherwise string) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return reading.RefusedLate
	}
	return otherwise
}

// valuesOf are readings as messages have them. What could not be read now is
// missing, whatever was read before.
func valuesOf(latest map[string]collect.Reading, items []string) map[string]reading.ReadValue {
	out := make(map[string]reading.ReadValue)
	for item, got := range latest {
		if len(items) > 0 && !slices.Contains(items, item) {
			continue
		}
		at := reading.Milli(got.At)
		v := reading.ReadValue{At: at, Arrived: at, Source: reading.Demand, Reason: got.Reason}
		if n, ok := reading.NumberOf(got.Value); ok && got.Quality == collect.Good {
			v.Value, v.Reason = &n, ""
		} else if v.Reason == "" {
			v.Reason = collect.Reason(collect.ErrNotNumber)
		}
		out[item] = v
	}
	return out
}
