// Package drivertest is what every collect.Driver is held to, whatever it speaks:
// each test lays out some meters, hands them over as a Rig, and calls Run. So a new
// protocol is one package, and one call of this suite.
//
// It promises to judge by the contract alone (collect.Driver), in real time or in
// a test's virtual one, and to fail where goroutines are left over. It knows no
// protocol, and nothing of what a driver does beside reading.
package drivertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// Rig is a driver, and meters that it can reach.
type Rig struct {
	Driver collect.Driver
	Source schema.Source
	Meters []schema.Meter // two at least, each of which has all of Items
	Items  []schema.Item  // two at least

	Want func(schema.Meter, schema.Item) string // the value as text; nil: any will do
	Vain []Vain                                 // items that have no value
	Dead schema.Meter                           // one that never answers; no ID: there is none

	// Budget is the most that a poll takes of a meter that doesn't answer, in a
	// medium that has just been opened.
	Budget time.Duration

	Mute func() (again func()) // from now on no meter answers; nil: can't be had
	Cut  func() (join func())  // the medium is out of reach; nil: can't be had

	// Settle returns when so many polls wait for the port, beside the one that has
	// it; nil where that can't be told. In a bubble synctest.Wait does.
	Settle func(waiting int)

	Listens bool // polls ask nothing, meters speak by themselves
}

// Vain is an item that can't be read.
type Vain struct {
	Item   schema.Item
	Reason string // collect.Reason of the error
}

// Config says how rigs are had. In, if set, is what each test runs in, such as
// synctest.Test.
type Config struct {
	Fresh func(t *testing.T) *Rig // a new one for each test; it is taken down with t
	In    func(t *testing.T, test func(t *testing.T))
}

// tests are what a driver has to stand.
var tests = []struct {
	name string
	test func(*testing.T, *Rig)
}{
	{"Everything", everything},
	{"Vain", vain},
	{"Cancelled", cancelled},
	{"CancelledUnderWay", cancelledUnderWay},
	{"CancelledWaiting", cancelledWaiting},
	{"Dead", dead},
	{"DeadAmongLiving", deadAmongLiving},
	{"Priorities", priorities},
	{"Concurrent", concurrent},
	{"ReleaseAndReopen", releaseAndReopen},
	{"ReleaseUnderPolls", releaseUnderPolls},
	{"OutOfReach", outOfReach},
}

// Run holds a driver to its contract.
func Run(t *testing.T, cfg Config) {
	t.Helper()
	in := cfg.In
	if in == nil {
		in = func(t *testing.T, test func(t *testing.T)) { test(t) }
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) }) // last of all
			in(t, func(t *testing.T) {
				r := cfg.Fresh(t)
				if len(r.Meters) < 2 || len(r.Items) < 2 || r.Budget <= 0 {
					t.Fatal("a rig has two meters, two items and a budget at least")
				}
				t.Cleanup(func() { r.Driver.Release(r.Source) })
				c.test(t, r)
			})
		})
	}
}

// patience is what a poll takes at most that doesn't hang.
func (r *Rig) patience() time.Duration { return max(time.Minute, 4*r.Budget) }

func (r *Rig) request(m schema.Meter, priority int) collect.Request {
	return collect.Request{Source: r.Source, Meter: m, Items: r.Items, Priority: priority}
}

// poll asks, and holds the result to what holds for every result.
func (r *Rig) poll(ctx context.Context, t *testing.T, q collect.Request) (collect.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	result, err := r.Driver.Poll(ctx, q)
	if len(result.Values) != len(q.Items) {
		t.Errorf("%s: %d items asked, %d in the result", q.Meter.ID, len(q.Items), len(result.Values))
	}
	for _, it := range q.Items {
		v, there := result.Values[it.Name]
		switch {
		case !there:
			t.Errorf("%s: %s is not in the result", q.Meter.ID, it.Name)
		case (v.Value == nil) == (v.Err == nil):
			t.Errorf("%s: %s has value %v and reason %v, exactly one is due", q.Meter.ID, it.Name, v.Value, v.Err)
		case v.At.IsZero():
			t.Errorf("%s: %s has no time", q.Meter.ID, it.Name)
		case v.Err != nil && collect.Reason(v.Err) == "error":
			t.Errorf("%s: %s has none of the reasons: %v", q.Meter.ID, it.Name, v.Err)
		case v.Value != nil && r.Want != nil:
			if want := r.Want(q.Meter, it); v.Value.Text() != want {
				t.Errorf("%s: %s is %s, want %s", q.Meter.ID, it.Name, v.Value.Text(), want)
			}
		}
	}
	if err != nil && collect.Reason(err) == "error" {
		t.Errorf("%s: none of the reasons: %v", q.Meter.ID, err)
	}
	return result, err
}

// good polls a meter, every item of which has a value then.
func (r *Rig) good(t *testing.T, m schema.Meter) {
	t.Helper()
	result, err := r.poll(t.Context(), t, r.request(m, 5))
	if err != nil {
		t.Errorf("%s: %v", m.ID, err)
	}
	for name, v := range result.Values {
		if v.Value == nil {
			t.Errorf("%s: %s is missing: %v", m.ID, name, v.Err)
		}
	}
	if (result.Frames == 0) != r.Listens || (result.Answers == 0) != r.Listens || result.Answers > result.Frames {
		t.Errorf("%s: %d requests, %d answers", m.ID, result.Frames, result.Answers)
	}
}

// missing wants all items of a poll to have no value, for one of the reasons.
func missing(t *testing.T, result collect.Result, err error, reasons ...error) {
	t.Helper()
	one := func(err error) bool {
		for _, reason := range reasons {
			if errors.Is(err, reason) {
				return true
			}
		}
		return false
	}
	if !one(err) {
		t.Errorf("the poll failed with %v, want one of %v", err, reasons)
	}
	for name, v := range result.Values {
		if v.Value != nil || !one(v.Err) {
			t.Errorf("%s is %v, %v; want none, for one of %v", name, v.Value, v.Err, reasons)
		}
	}
}

// within fails if it took longer than so many budgets since.
func (r *Rig) within(t *testing.T, since time.Time, budgets int, what string) {
	t.Helper()
	if took, most := time.Since(since), time.Duration(budgets)*r.Budget; took > most {
		t.Errorf("%s took %v, %v at most", what, took, most)
	}
}

// aside polls in a goroutine of its own and returns what to wait for.
func (r *Rig) aside(ctx context.Context, t *testing.T, q collect.Request) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		result, err := r.poll(ctx, t, q)
		done <- outcome{result, err}
	}()
	return done
}

type outcome struct {
	result collect.Result
	err    error
}
