package drivertest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// Every item of every meter is in the result, time after time.
func everything(t *testing.T, r *Rig) {
	for range 3 {
		for _, m := range r.Meters {
			r.good(t, m)
		}
	}
}

// What can't be read says why, the same each time, and takes nothing else along.
func vain(t *testing.T, r *Rig) {
	if len(r.Vain) == 0 {
		t.Skip("skip: this rig has no item in vain")
	}
	q := r.request(r.Meters[0], 5)
	q.Items = slices.Clone(q.Items)
	for _, v := range r.Vain {
		q.Items = append(q.Items, v.Item)
	}
	for range 3 {
		result, _ := r.poll(t.Context(), t, q)
		for _, it := range r.Items {
			if v := result.Values[it.Name]; v.Value == nil {
				t.Errorf("%s is missing beside what can't be read: %v", it.Name, v.Err)
			}
		}
		for _, v := range r.Vain {
			if got := result.Values[v.Item.Name]; got.Value != nil || collect.Reason(got.Err) != v.Reason {
				t.Errorf("%s is %v, %v; want none, for %s", v.Item.Name, got.Value, got.Err, v.Reason)
			}
		}
	}
}

// A poll that was called off before it began asks nothing.
func cancelled(t *testing.T, r *Rig) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := r.poll(ctx, t, r.request(r.Meters[0], 5))
	missing(t, result, err, context.Canceled)
	if result.Frames != 0 {
		t.Errorf("%d requests after it was called off", result.Frames)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	result, err = r.poll(late, t, r.request(r.Meters[0], 5))
	missing(t, result, err, context.DeadlineExceeded)
	r.good(t, r.Meters[0])
}

// A poll that is called off while the meter keeps silent ends soon, and the port
// is of use afterwards.
func cancelledUnderWay(t *testing.T, r *Rig) {
	if r.Mute == nil {
		t.Skip("skip: this rig can't be muted")
	}
	r.good(t, r.Meters[0])
	again := r.Mute()
	ctx, cancel := context.WithCancel(t.Context())
	done := r.aside(ctx, t, r.request(r.Meters[0], 5))
	if r.Settle != nil {
		r.Settle(0)
	}
	cancel()
	since := time.Now()
	o := <-done
	r.within(t, since, 1, "ending a poll that was called off")
	if !r.Listens {
		missing(t, o.result, o.err, context.Canceled, collect.ErrTimeout)
	}
	again()
	r.recovers(t, r.Meters[0])
}

// recovers polls until that succeeds, which takes a few polls where answers may
// still be under way.
func (r *Rig) recovers(t *testing.T, m schema.Meter) {
	t.Helper()
	for limit := time.Now().Add(r.patience()); ; {
		if _, err := r.poll(t.Context(), t, r.request(m, 5)); err == nil {
			break
		} else if time.Now().After(limit) {
			t.Fatalf("%s does not come back: %v", m.ID, err)
		}
		time.Sleep(r.Budget / 10) // the meter's own pace; no event tells of it
	}
	r.good(t, m)
}

// A poll that waits for the port lets go at once when it is called off.
func cancelledWaiting(t *testing.T, r *Rig) {
	if r.Mute == nil || r.Settle == nil || r.Listens {
		t.Skip("skip: nobody waits for this port, or it can't be told who does")
	}
	r.good(t, r.Meters[0])
	again := r.Mute()
	first := r.aside(t.Context(), t, r.request(r.Meters[0], 5))
	r.Settle(0)
	ctx, cancel := context.WithCancel(t.Context())
	waits := r.aside(ctx, t, r.request(r.Meters[0], 5))
	r.Settle(1)
	cancel()
	since := time.Now()
	o := <-waits
	missing(t, o.result, o.err, context.Canceled)
	if o.result.Frames != 0 {
		t.Errorf("%d requests without a turn", o.result.Frames)
	}
	if took := time.Since(since); took > r.Budget/2 {
		t.Errorf("it let go of the queue after %v", took)
	}
	again()
	<-first
	r.recovers(t, r.Meters[0])
}

// A meter that isn't there costs no more than its budget, and says so.
func dead(t *testing.T, r *Rig) {
	if r.Dead.ID == "" {
		t.Skip("skip: this rig has no dead meter")
	}
	for range 4 {
		since := time.Now()
		result, err := r.poll(t.Context(), t, r.request(r.Dead, 5))
		r.within(t, since, 1, "a dead meter")
		missing(t, result, err, collect.ErrTimeout, collect.ErrSkipped, collect.ErrBusy)
	}
}

// Meters beside a dead one are read as if it wasn't there, at the cost of its
// budget for as long as it is tried.
func deadAmongLiving(t *testing.T, r *Rig) {
	if r.Dead.ID == "" {
		t.Skip("skip: this rig has no dead meter")
	}
	const cycles = 4
	since := time.Now()
	for range cycles {
		if _, err := r.poll(t.Context(), t, r.request(r.Dead, 5)); err == nil {
			t.Error("the dead meter answers")
		}
		for _, m := range r.Meters {
			r.good(t, m)
		}
	}
	r.within(t, since, 2*cycles, "reading beside a dead meter")
}

// Of those that wait for a port the lowest priority is next, and among equals the
// one that has waited longest.
func priorities(t *testing.T, r *Rig) {
	if r.Mute == nil || r.Settle == nil || r.Listens {
		t.Skip("skip: nobody waits for this port, or it can't be told who does")
	}
	r.good(t, r.Meters[0])
	again := r.Mute()
	first := r.aside(t.Context(), t, r.request(r.Meters[0], 5))
	r.Settle(0)
	type served struct {
		as int // priority and arrival
		at time.Time
	}
	asked := []int{9, 5, 1, 5}
	order := make([]served, len(asked))
	var polls sync.WaitGroup
	for i, priority := range asked {
		polls.Go(func() {
			result, _ := r.poll(t.Context(), t, r.request(r.Meters[0], priority))
			order[i] = served{10*priority + i, result.Values[r.Items[0].Name].At}
		})
		r.Settle(i + 1) // they come in this order
	}
	again()
	<-first
	polls.Wait()
	slices.SortFunc(order, func(a, b served) int { return a.at.Compare(b.at) })
	var got []int
	for _, s := range order {
		got = append(got, s.as)
	}
	if want := []int{12, 51, 53, 90}; !slices.Equal(got, want) {
		t.Errorf("served as %v, want %v (priority and arrival)", got, want)
	}
}

// Polls of all meters at once, by several policies, get each meter's own values.
func concurrent(t *testing.T, r *Rig) {
	r.good(t, r.Meters[0])
	var polls sync.WaitGroup
	for i := range 8 {
		polls.Go(func() {
			for k := range 4 {
				r.good(t, r.Meters[(i+k)%len(r.Meters)])
			}
		})
	}
	polls.Wait()
}

// Release lets go of the port, as often as it is called, and the next poll opens
// it again.
func releaseAndReopen(t *testing.T, r *Rig) {
	r.Driver.Release(r.Source) // not open yet
	for range 3 {
		for _, m := range r.Meters {
			r.good(t, m)
		}
		r.Driver.Release(r.Source)
		r.Driver.Release(r.Source)
	}
	other := r.Source
	if other.Address != "" {
		other.Address = "192.0.2.1:1"
	} else {
		other.Port = "/dev/none"
	}
	r.good(t, r.Meters[0])
	r.Driver.Release(other) // nobody's
	r.good(t, r.Meters[0])
}

// A port that is released under those who use it and wait for it hangs nobody.
func releaseUnderPolls(t *testing.T, r *Rig) {
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for k := range 4 {
				_, _ = r.poll(t.Context(), t, r.request(r.Meters[(i+k)%len(r.Meters)], 1+i))
			}
		})
		all.Go(func() { r.Driver.Release(r.Source) })
	}
	all.Wait()
	r.Driver.Release(r.Source)
	r.recovers(t, r.Meters[0])
}

// A medium that is out of reach is said to be, and used again once it is back.
func outOfReach(t *testing.T, r *Rig) {
	if r.Cut == nil {
		t.Skip("skip: this rig's medium can't be cut")
	}
	r.good(t, r.Meters[0])
	join := r.Cut()
	for range 2 {
		since := time.Now()
		result, err := r.poll(t.Context(), t, r.request(r.Meters[0], 5))
		r.within(t, since, 1, "finding out")
		missing(t, result, err, collect.ErrLink, collect.ErrTimeout, collect.ErrSkipped, collect.ErrGarbled)
	}
	join()
	r.recovers(t, r.Meters[0])
}
