// Package readingstest is the conformance suite of stores of readings: what every
// adapter of readings.Store promises, whatever it stands on. It says nothing of how
// fast it is.
package readingstest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// Store is what an adapter is tested through.
type Store interface {
	readings.Store
	Run(ctx context.Context) error
	Close() error
}

// Run checks an adapter. open opens the store of a directory, which may have been
// open before.
func Run(t *testing.T, open func(t testing.TB, dir string) Store) {
	t.Run("FirstStays", func(t *testing.T) { firstStays(t, open) })
	t.Run("Order", func(t *testing.T) { order(t, open) })
	t.Run("Expire", func(t *testing.T) { expire(t, open) })
	t.Run("Cancelled", func(t *testing.T) { cancelled(t, open) })
	t.Run("Policies", func(t *testing.T) { policies(t, open) })
	t.Run("Model", func(t *testing.T) { model(t, open) })
	t.Run("Closed", func(t *testing.T) { closed(t, open) })
}

// Start runs a store until the function it returns is called, or the test ends.
func Start(t testing.TB, s Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	over := false
	stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// Put submits a batch and waits until it is durable.
func Put(t testing.TB, s readings.Sink, told readings.Told) {
	t.Helper()
	done := make(chan error, 1)
	if err := s.Submit(context.Background(), told, func(err error) { done <- err }); err != nil {
		t.Fatalf("Submit: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("done: %v", err)
	}
}

// Day is the beginning of what the suite stores.
var Day = time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)

func told(node, policy string, items []string, rows ...reading.Row) readings.Told {
	return readings.Told{
		Node: node, Stored: Day.Add(30 * time.Hour),
		Batch: &reading.Batch{ID: 1, Policy: policy, Version: 3, Items: items, Rows: rows},
	}
}

func good(mantissa int64, exponent int16) reading.Value {
	return reading.Value{State: reading.Good, Number: reading.Number{Mantissa: mantissa, Exponent: exponent}}
}

func missing(reason string) reading.Value {
	return reading.Value{State: reading.Missing, Reason: reason}
}

func row(meter string, at time.Time, source reading.Source, values ...reading.Value) reading.Row {
	return reading.Row{Meter: meter, At: at, Arrived: at.Add(7 * time.Second), Source: source, Values: values}
}

// all returns what a scan gives, each value in a line.
func all(t rapid.TB, s readings.Store, q readings.Scan) (lines []string, last *readings.Position) {
	t.Helper()
	err := s.Scan(context.Background(), q, func(r *readings.Row) bool {
		for i, v := range r.Values {
			if v.State != reading.Absent {
				lines = append(lines, line(r, i))
			}
		}
		last = &readings.Position{Meter: r.Meter, At: r.At}
		return true
	})
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	return lines, last
}

func line(r *readings.Row, i int) string {
	v := r.Values[i]
	return fmt.Sprint(r.Meter, " ", r.At, " ", r.Items[i], " ", v.State, v.Number, v.Reason, " ", v.Source, v.Version, " ", v.Arrived, " ", v.Stored)
}

func everything(p readings.Policy) readings.Scan {
	return readings.Scan{Policy: p, From: Day.AddDate(-1, 0, 0), To: Day.AddDate(1, 0, 0)}
}

func firstStays(t *testing.T, open func(testing.TB, string) Store) {
	dir := t.TempDir()
	s := open(t, dir)
	stop := Start(t, s)
	p := readings.Policy{Node: "n", Name: "curve"}
	items := []string{"V", "E"}
	at := Day.Add(15 * time.Minute)
	Put(t, s, told("n", "curve", items, row("m1", at, reading.Cycle, good(2301, -1), missing("timeout")), row("m2", at, reading.Cycle, good(1, 3), reading.Value{})))
	first, _ := all(t, s, everything(p))
	Put(t, s, told("n", "curve", []string{"E", "V"}, row("m1", at, reading.BackFill, good(77, 0), good(9999, -1))))
	Put(t, s, told("n", "curve", items, row("m1", at, reading.Demand, missing("no-answer"), missing("no-answer"))))
	again, _ := all(t, s, everything(p))
	if len(first) != 3 || len(again) != 3 {
		t.Fatalf("values %q, then %q: want three", first, again)
	}
	if again[2] != first[2] || !slices.Contains(again, first[1]) {
		t.Errorf("what was told first has changed: %q, then %q", first, again)
	}
	err := s.Scan(context.Background(), everything(p), func(r *readings.Row) bool {
		for i, v := range r.Values {
			if r.Meter == "m1" && r.Items[i] == "E" && (v.State != reading.Good || v.Number.Mantissa != 77 || v.Source != reading.BackFill) {
				t.Errorf("the missing one is %+v, want 77 by back-fill", v)
			}
			if r.Meter == "m1" && r.Items[i] == "V" && (v.Number != reading.Number{Mantissa: 2301, Exponent: -1} || v.Source != reading.Cycle) {
				t.Errorf("the good one is %+v, want 230.1 by the cycle", v)
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	s = open(t, dir)
	Start(t, s)
	if after, _ := all(t, s, everything(p)); !slices.Equal(after, again) {
		t.Errorf("after it was opened again %q, want %q", after, again)
	}
}

func order(t *testing.T, open func(testing.TB, string) Store) {
	s := open(t, t.TempDir())
	Start(t, s)
	var rows []reading.Row
	for _, meter := range []string{"m10", "m1", "m2"} {
		for i := range 12 { // of three pieces
			rows = append(rows, row(meter, Day.Add(time.Duration(i)*time.Hour), reading.Cycle, good(int64(i), 0)))
		}
		for i := range 20 { // as often as may be
			rows = append(rows, row(meter, Day.Add(4*time.Hour-950*time.Millisecond+time.Duration(i)*100*time.Millisecond), reading.Cycle, good(int64(i), 0)))
		}
	}
	Put(t, s, told("n", "p", []string{"V"}, rows...))
	Put(t, s, told("n", "p2", []string{"V"}, rows...))
	Put(t, s, told("n2", "p", []string{"V"}, rows[0]))
	p := readings.Policy{Node: "n", Name: "p"}
	whole, _ := all(t, s, everything(p))
	if len(whole) != len(rows) {
		t.Fatalf("%d rows, want %d", len(whole), len(rows))
	}
	for _, q := range []readings.Scan{
		everything(p),
		{Policy: p, Meter: "m1", From: Day.Add(time.Hour), To: Day.Add(9 * time.Hour)},
		{Policy: p, From: Day.Add(4 * time.Hour), To: Day.Add(8 * time.Hour)},
		{Policy: p, Meter: "m3", From: Day, To: Day.Add(9 * time.Hour)},
		{Policy: p, Meter: "m1\x00\x01", From: Day, To: Day.Add(9 * time.Hour)},
		{Policy: p, Meter: "m1\x00\x30", From: Day, To: Day.Add(9 * time.Hour)},
		{Policy: p, From: Day, To: Day},
	} {
		at, _ := all(t, s, q)
		var parts []string
		for q.After = nil; ; {
			var part []string
			n := 0
			if err := s.Scan(context.Background(), q, func(r *readings.Row) bool {
				part = append(part, line(r, 0))
				q.After = &readings.Position{Meter: r.Meter, At: r.At}
				n++
				return n < 5
			}); err != nil {
				t.Fatal(err)
			}
			if len(part) == 0 {
				break
			}
			parts = append(parts, part...)
		}
		if !slices.Equal(at, parts) {
			t.Errorf("%+v: in parts %q, whole %q", q, parts, at)
		}
	}
	one, _ := all(t, s, readings.Scan{Policy: p, Meter: "m1", From: Day.Add(time.Hour), To: Day.Add(9 * time.Hour)})
	if len(one) != 8+20 {
		t.Errorf("%d rows of one meter, want 28: %q", len(one), one)
	}
}

func expire(t *testing.T, open func(testing.TB, string) Store) {
	s := open(t, t.TempDir())
	Start(t, s)
	for _, policy := range []string{"a", "b"} {
		for d := range 5 {
			at := Day.AddDate(0, 0, d)
			Put(t, s, told("n", policy, []string{"V"}, row("m", at, reading.Cycle, good(int64(d), 0))))
		}
	}
	for range 2 {
		if err := s.Expire(context.Background(), Day.AddDate(0, 0, 3)); err != nil {
			t.Fatal(err)
		}
	}
	for _, policy := range []string{"a", "b"} {
		left, last := all(t, s, everything(readings.Policy{Node: "n", Name: policy}))
		if len(left) != 2 || last.At != Day.AddDate(0, 0, 4).UnixMilli() {
			t.Errorf("%s: left is %q", policy, left)
		}
	}
}

// cancelled: who asked and went away is read nothing more for.
func cancelled(t *testing.T, open func(testing.TB, string) Store) {
	s := open(t, t.TempDir())
	Start(t, s)
	const meters = 50
	var rows []reading.Row
	for m := range meters {
		rows = append(rows, row(fmt.Sprintf("m%02d", m), Day, reading.Cycle, good(1, 0)))
	}
	for i := range meters {
		Put(t, s, told("n", fmt.Sprintf("p%02d", i), []string{"V"}, rows...))
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := s.Scan(ctx, everything(readings.Policy{Node: "n", Name: "p00"}), func(*readings.Row) bool {
		cancel()
		n++
		return true
	})
	if !errors.Is(err, context.Canceled) || n > meters/2 {
		t.Errorf("%d rows of %d were read for somebody who had gone away, %v", n, meters, err)
	}
	if list, err := s.Policies(ctx, readings.Policy{}, meters); !errors.Is(err, context.Canceled) {
		t.Errorf("%d policies, %v", len(list), err)
	}
	if err := s.Expire(ctx, Day.AddDate(1, 0, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("Expire: %v", err)
	}
}

func policies(t *testing.T, open func(testing.TB, string) Store) {
	s := open(t, t.TempDir())
	Start(t, s)
	want := []readings.Policy{{Node: "n", Name: "a"}, {Node: "n", Name: "a-b"}, {Node: "n", Name: "ab"}, {Node: "n-1", Name: "a"}, {Node: "n1", Name: "a"}}
	for _, p := range want {
		Put(t, s, told(p.Node, p.Name, []string{"V"}, row("m", Day, reading.Cycle, good(1, 0)), row("m", Day.Add(50*time.Hour), reading.Cycle, good(1, 0))))
	}
	slices.SortFunc(want, func(a, b readings.Policy) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Name, b.Name))
	})
	got, err := s.Policies(context.Background(), readings.Policy{}, 100)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("policies %v, %v; want %v", got, err, want)
	}
	if got, err = s.Policies(context.Background(), want[2], 2); err != nil || !slices.Equal(got, want[2:4]) {
		t.Errorf("policies from %v: %v, %v; want %v", want[2], got, err, want[2:4])
	}
}

// cell names a value in the model.
type cell struct {
	meter string
	at    int64
	item  string
}

// model holds the store against a map, whatever is told in whatever order.
func model(t *testing.T, open func(testing.TB, string) Store) {
	dir := t.TempDir()
	s := open(t, dir)
	stop := Start(t, s)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		node := fmt.Sprint("n", runs)
		want := map[cell]string{}
		states := map[cell]reading.State{}
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			b := drawBatch(rt, node)
			Put(t, s, b)
			for i := range b.Batch.Rows {
				note(want, states, b, &b.Batch.Rows[i])
			}
		}
		if rapid.IntRange(0, 19).Draw(rt, "again") == 19 {
			stop()
			s = open(t, dir)
			stop = Start(t, s)
		}
		var lines []string
		for _, l := range want {
			lines = append(lines, l)
		}
		got, _ := all(rt, s, everything(readings.Policy{Node: node, Name: "p"}))
		slices.Sort(lines)
		slices.Sort(got)
		if !slices.Equal(got, lines) {
			rt.Errorf("got\n%q, want\n%q", got, lines)
		}
	})
}

func note(want map[cell]string, states map[cell]reading.State, b readings.Told, r *reading.Row) {
	for i, v := range r.Values {
		k := cell{r.Meter, r.At.UnixMilli(), b.Batch.Items[i]}
		if !readings.Supersedes(v.State, states[k]) {
			continue
		}
		states[k] = v.State
		want[k] = line(&readings.Row{Meter: r.Meter, At: k.at, Items: []string{k.item}, Values: []readings.Value{{
			Value: v, Source: r.Source, Version: b.Batch.Version, Arrived: r.Arrived.UnixMilli(), Stored: b.Stored.UnixMilli(),
		}}}, 0)
	}
}

func drawBatch(rt *rapid.T, node string) readings.Told {
	items := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"V", "I", "P", "E"}), 1, 4, rapid.ID[string]).Draw(rt, "items")
	rows := rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) reading.Row {
		at := Day.Add(time.Duration(rapid.IntRange(-1, 40).Draw(rt, "slot"))*15*time.Minute + time.Duration(rapid.SampledFrom([]int{0, 0, 100, 37_000, 450_300}).Draw(rt, "beside"))*time.Millisecond)
		r := row(rapid.SampledFrom([]string{"m1", "m2"}).Draw(rt, "meter"), at, reading.Source(rapid.IntRange(1, 4).Draw(rt, "source")))
		r.Arrived = at.Add(time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(rt, "arrived")) * time.Millisecond)
		for range items {
			switch rapid.IntRange(0, 3).Draw(rt, "state") {
			case 0:
				r.Values = append(r.Values, reading.Value{})
			case 1:
				r.Values = append(r.Values, missing(rapid.SampledFrom([]string{"timeout", "busy", "no-answer"}).Draw(rt, "reason")))
			default:
				r.Values = append(r.Values, good(rapid.Int64().Draw(rt, "mantissa"), int16(rapid.IntRange(-400, 400).Draw(rt, "exponent"))))
			}
		}
		return r
	}), 1, 20, func(r reading.Row) string { return r.Meter + r.At.String() }).Draw(rt, "rows")
	b := told(node, "p", items, rows...)
	b.Batch.Version = rapid.Uint64().Draw(rt, "version")
	b.Stored = Day.Add(time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(rt, "stored")) * time.Millisecond)
	return b
}

func closed(t *testing.T, open func(testing.TB, string) Store) {
	s := open(t, t.TempDir())
	stop := Start(t, s)
	stop()
	if err := s.Submit(context.Background(), told("n", "p", []string{"V"}, row("m", Day, reading.Cycle, good(1, 0))), func(error) {}); err == nil {
		t.Error("a closed store takes batches")
	}
}
