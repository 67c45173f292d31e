package readings_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"gnomon/cloud/identity"
	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// curve is a policy of two items, read every quarter of an hour.
func curve(meters string, more string) string {
	var list []string
	for _, m := range strings.Fields(meters) {
		list = append(list, `{"id":"`+m+`","unit":`+m[1:]+`}`)
	}
	return `{"source":{"kind":"modbus-tcp","address":"127.0.0.1:502"},"period":"15m","items":[{"name":"V","address":0},{"name":"E","address":2}],` +
		more + `"meters":[` + strings.Join(list, ",") + `]}`
}

var of = readings.Policy{Node: "n1", Name: "curve"}

func (b *bench) completeness(day string) *readings.Completeness {
	b.t.Helper()
	c, err := b.Completeness(context.Background(), identity.LocalOperator, of, day)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// fill has a meter tell all slots of a day from one to before another.
func (b *bench) fill(meter string, begin time.Time, from, to int, source reading.Source, after time.Duration) {
	b.t.Helper()
	var rows []reading.Row
	for i := from; i < to; i++ {
		rows = append(rows, row(meter, begin.Add(time.Duration(i)*15*time.Minute), source, after, good(230), good(int64(i))))
	}
	b.tell("n1", "curve", []string{"V", "E"}, rows...)
}

func cells(c *readings.Completeness) map[string]string {
	out := map[string]string{}
	for _, m := range c.Meters {
		out[m.Meter] = m.Cells
	}
	return out
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestCompleteness(t *testing.T) {
	b := start(t, nil)
	b.past.write(t, of, day.Add(-24*time.Hour), curve("m1 m2 m3 m4", ""))
	b.fill("m1", day, 0, 96, reading.Cycle, 10*time.Second)
	b.fill("m2", day, 0, 48, reading.Cycle, 10*time.Second)
	b.tell("n1", "curve", []string{"V", "E"},
		row("m2", day.Add(12*time.Hour), reading.Cycle, time.Minute, missing("timeout"), missing("timeout")),
		row("m2", day.Add(12*time.Hour+15*time.Minute), reading.Cycle, time.Minute, good(1), missing("timeout")))
	b.fill("m2", day, 60, 96, reading.BackFill, 10*time.Hour)
	b.fill("m3", day, 0, 96, reading.Cycle, 16*time.Minute) // all, and too late for the next slot
	// What is of no slot, of no meter or of no item of the policy counts for nothing.
	b.tell("n1", "curve", []string{"V"}, row("m4", day.Add(time.Minute), reading.Cycle, 0, good(1)), row("m9", day, reading.Cycle, 0, good(1)))
	b.tell("n1", "curve", []string{"X"}, row("m4", day, reading.Cycle, 0, good(1)))
	b.now = day.Add(23 * time.Hour)
	if today := b.completeness(""); today.Day != "2026-03-29" {
		t.Errorf("today is %s", today.Day)
	}
	b.now = day.Add(36 * time.Hour)
	c := b.completeness("2026-03-29")
	want := map[string]string{
		"m1": strings.Repeat("#", 96), "m3": strings.Repeat("#", 96), "m4": strings.Repeat(".", 96),
		"m2": strings.Repeat("#", 48) + "x+" + strings.Repeat(".", 10) + strings.Repeat("b", 36),
	}
	for meter, w := range want {
		if got := cells(c)[meter]; got != w {
			t.Errorf("%s is %q, want %q", meter, got, w)
		}
	}
	if c.Columns != 96 || c.Column != "15m0s" || c.Zone != "+00:00" || c.Vague || c.Meters[0].Meter != "m4" || c.Meters[1].Meter != "m2" {
		t.Errorf("%+v", c)
	}
	k, all := c.KPIs, float64(4*96*2)
	stored := float64(96*2+48*2+1+36*2) + 96*2
	switch {
	case k.Meters != 4 || k.Expected != int64(all) || k.Stored != int64(stored) || !near(k.Completeness, stored/all):
		t.Errorf("completeness: %+v", k)
	case !near(k.FirstPass, (stored-72)/all) || !near(k.BackfillGain, 72/all):
		t.Errorf("back-fill: %+v", k)
	case !near(k.CycleSuccess, float64(96+48)/(4*96)):
		t.Errorf("cycle success: %+v", k)
	case len(k.Missing) != 2 || k.Missing[0] != readings.Reason{Reason: readings.NotTold, Count: 96*2 + 20} || k.Missing[1] != readings.Reason{Reason: "timeout", Count: 3}:
		t.Errorf("missing: %+v", k.Missing)
	}
	sum, err := b.KPIs(context.Background(), identity.LocalOperator, []readings.Policy{of, of}, "2026-03-29")
	if err != nil || sum.Policies != 2 || sum.Expected != 2*k.Expected || !near(sum.Completeness, k.Completeness) || sum.FreshnessP95 != k.FreshnessP95 {
		t.Errorf("of two: %+v, %v", sum, err)
	}
	if _, err := b.Completeness(context.Background(), identity.LocalOperator, of, "29.3.2026"); err == nil {
		t.Error("a day that is none is taken")
	}
}

// Freshness is the age at which 95 of 100 values were stored.
func TestFreshness(t *testing.T) {
	b := start(t, nil)
	b.past.write(t, of, day.Add(-24*time.Hour), curve("m1", ""))
	for i := range 96 {
		at := day.Add(time.Duration(i) * 15 * time.Minute)
		age := time.Minute
		if i >= 90 { // more than five of a hundred
			age = time.Hour
		}
		b.now = at.Add(age)
		b.tell("n1", "curve", []string{"V", "E"}, row("m1", at, reading.Cycle, time.Second, good(1), good(1)))
	}
	b.now = day.Add(36 * time.Hour)
	if got := b.completeness("2026-03-29").KPIs.FreshnessP95; got < 3600*0.98 || got > 3600*1.02 {
		t.Errorf("95 of 100 within %g s, want 3600", got)
	}
}

// What is expected is what was desired then, by the clock of the policy's zone.
func TestCompleteness_Expected(t *testing.T) {
	zone, east := `"zone":"+08:00",`, day.Add(-8*time.Hour)
	for name, c := range map[string]struct {
		write func(*bench)
		now   time.Time
		want  map[string]string // cells of meters
		vague bool
	}{
		"nothing was desired": {want: map[string]string{}},
		"made before noon": {
			write: func(b *bench) { b.past.write(b.t, of, day.Add(12*time.Hour-2*time.Second), curve("m1", "")) },
			want:  map[string]string{"m1": strings.Repeat(" ", 48) + strings.Repeat(".", 48)},
		},
		"made too shortly before noon for the node to have it": {
			write: func(b *bench) { b.past.write(b.t, of, day.Add(12*time.Hour-time.Second), curve("m1", "")) },
			want:  map[string]string{"m1": strings.Repeat(" ", 49) + strings.Repeat(".", 47)},
		},
		"made in the second of noon": {
			write: func(b *bench) { b.past.write(b.t, of, day.Add(12*time.Hour), curve("m1", "")) },
			want:  map[string]string{"m1": strings.Repeat(" ", 49) + strings.Repeat(".", 47)},
		},
		"deleted at noon": {
			write: func(b *bench) {
				b.past.write(b.t, of, day.Add(-time.Hour), curve("m1", ""))
				b.past.write(b.t, of, day.Add(12*time.Hour), "")
			},
			want: map[string]string{"m1": strings.Repeat(".", 48) + strings.Repeat(" ", 48)},
		},
		"disabled": {
			write: func(b *bench) { b.past.write(b.t, of, day.Add(-time.Hour), curve("m1", `"enabled":false,`)) },
			want:  map[string]string{},
		},
		"a meter more from noon on": {
			write: func(b *bench) {
				b.past.write(b.t, of, day.Add(-time.Hour), curve("m1", ""))
				b.past.write(b.t, of, day.Add(12*time.Hour-time.Minute), curve("m1 m2", ""))
			},
			want: map[string]string{"m1": strings.Repeat(".", 96), "m2": strings.Repeat(" ", 48) + strings.Repeat(".", 48)},
		},
		"a meter more, and which version the node had at noon nobody knows": {
			write: func(b *bench) {
				b.past.write(b.t, of, day.Add(-time.Hour), curve("m1", ""))
				b.past.write(b.t, of, day.Add(12*time.Hour), curve("m1 m2", ""))
			},
			want: map[string]string{"m1": strings.Repeat(".", 48) + " " + strings.Repeat(".", 47), "m2": strings.Repeat(" ", 49) + strings.Repeat(".", 47)},
		},
		"at six in the morning": {
			write: func(b *bench) { b.past.write(b.t, of, day.Add(-time.Hour), curve("m1", "")) },
			now:   day.Add(6*time.Hour + time.Minute), // the cycle of 06:00 isn't over
			want:  map[string]string{"m1": strings.Repeat(".", 24) + strings.Repeat(" ", 72)},
		},
		"by windows": {
			write: func(b *bench) { b.past.write(b.t, of, day.Add(-time.Hour), curve("m1", `"windows":["06:00-12:00"],`)) },
			want:  map[string]string{"m1": strings.Repeat(" ", 24) + strings.Repeat(".", 24) + strings.Repeat(" ", 48)},
		},
		"by the clock of its zone": {
			write: func(b *bench) {
				b.past.write(b.t, of, east.Add(-time.Hour), curve("m1", zone))
				b.fill("m1", east, 0, 4, reading.Cycle, time.Second)
			},
			want: map[string]string{"m1": "####" + strings.Repeat(".", 92)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, nil)
			if c.write != nil {
				c.write(b)
			}
			if !c.now.IsZero() {
				b.now = c.now
			}
			if today := b.completeness("").Day; name == "by the clock of its zone" && today != "2026-03-30" {
				t.Errorf("today is %s", today)
			}
			got := b.completeness("2026-03-29")
			if len(got.Meters) != len(c.want) || got.Vague != c.vague {
				t.Fatalf("%+v", got)
			}
			for meter, w := range c.want {
				if g := cells(got)[meter]; g != w {
					t.Errorf("%s is %q, want %q", meter, g, w)
				}
			}
		})
	}
}

// A day says which slot will count next, and when: once its cycle is over and the node
// has had its time to tell.
func TestCompleteness_Next(t *testing.T) {
	at := func(hour, minute int) *readings.NextSlot {
		slot := day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
		return &readings.NextSlot{At: slot, Counts: slot.Add(16 * time.Minute)}
	}
	for name, c := range map[string]struct {
		more    string
		written time.Duration // after the day began
		now     time.Duration
		want    *readings.NextSlot
	}{
		"nothing has been read yet":             {written: 6*time.Hour + time.Minute, now: 6*time.Hour + 2*time.Minute, want: at(6, 15)},
		"written in the second of a slot":       {written: 6 * time.Hour, now: 6*time.Hour + time.Second, want: at(6, 15)},
		"a slot will count in a moment":         {written: -time.Hour, now: 6*time.Hour + 16*time.Minute - time.Second, want: at(6, 0)},
		"a slot counts":                         {written: -time.Hour, now: 6*time.Hour + 16*time.Minute, want: at(6, 15)},
		"the window has yet to open":            {written: -time.Hour, now: 6 * time.Hour, more: `"windows":["09:00-10:00"],`, want: at(9, 0)},
		"the window has closed":                 {written: -time.Hour, now: 12 * time.Hour, more: `"windows":["09:00-10:00"],`},
		"the day is over, its last slot is not": {written: -time.Hour, now: 24 * time.Hour, want: at(23, 45)},
		"the day is over":                       {written: -time.Hour, now: 25 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, nil)
			b.past.write(t, of, day.Add(c.written), curve("m1", c.more))
			b.now = day.Add(c.now)
			got := b.completeness("2026-03-29").Next
			if (got == nil) != (c.want == nil) || got != nil && (!got.At.Equal(c.want.At) || !got.Counts.Equal(c.want.Counts)) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// Slots of less than a minute share a column; once a day is one column.
func TestCompleteness_Columns(t *testing.T) {
	for period, columns := range map[string]int{"1s": 1440, "1m": 1440, "1h": 24, "24h": 1} {
		b := start(t, nil)
		b.past.write(t, of, day.Add(-time.Hour), strings.Replace(curve("m1", ""), `"15m"`, `"`+period+`"`, 1))
		c := b.completeness("2026-03-29")
		if c.Columns != columns || len(c.Meters[0].Cells) != columns || c.Meters[0].Cells != strings.Repeat(".", columns) {
			t.Errorf("%s: %d columns, cells %.30q…", period, c.Columns, c.Meters[0].Cells)
		}
	}
}

// A page goes on where the one before ended, over policies.
func TestWalk_Parts(t *testing.T) {
	b := start(t, nil)
	var policies []readings.Policy
	for _, p := range []readings.Policy{{Node: "n1", Name: "a"}, {Node: "n1", Name: "b"}, {Node: "n2", Name: "a"}} {
		policies = append(policies, p)
		for i := range 3 {
			b.tell(p.Node, p.Name, []string{"V", "E"}, row("m1", day.Add(time.Duration(i)*5*time.Hour), reading.Cycle, 0, good(1), reading.Value{}), row("m2", day, reading.Cycle, 0, good(2), good(3)))
		}
	}
	found, err := b.PoliciesOf(context.Background(), identity.LocalOperator, "", "")
	if err != nil || len(found) != 3 {
		t.Fatalf("%v, %v", found, err)
	}
	if found, err = b.PoliciesOf(context.Background(), identity.LocalOperator, "n1", ""); err != nil || len(found) != 2 {
		t.Fatalf("of a node: %v, %v", found, err)
	}
	whole := b.all(readings.Query{Policies: policies})
	q := readings.Query{Policies: policies, From: day, To: day.AddDate(0, 0, 1)}
	rows := 0
	for {
		before := rows
		err := b.Walk(context.Background(), identity.LocalOperator, q, func(of readings.Policy, r *readings.Row) bool {
			rows++
			q.After = &readings.Mark{Policy: of, Position: readings.Position{Meter: r.Meter, At: r.At}}
			return rows%2 == 1
		})
		if err != nil {
			t.Fatal(err)
		}
		if rows == before {
			break
		}
	}
	if rows != 12 || len(whole) != 15 {
		t.Errorf("%d rows in parts, %d values whole; want 12 and 15", rows, len(whole))
	}
	if only := b.all(readings.Query{Policies: policies, Item: "E"}); len(only) != 3 {
		t.Errorf("of one item: %q", only)
	}
}
