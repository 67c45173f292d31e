package dlt645

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/schema"
)

var recordNoon = time.Date(2026, 6, 29, 12, 0, 0, 0, time.UTC)

// keeper is a meter that keeps a record every so often, of energies that read as
// the time: day, hour, minute.
type keeper struct {
	limit  int // requests that go together
	every  time.Duration
	oldest time.Time
	spoil  func(n int, answers []answer) []answer // nil = all is well
	hole   func(at time.Time) bool                // it wasn't there then; nil = it always was
	strict bool                                   // it refuses what it hasn't to the minute
	known  *meter                                 // what the driver knows of it; nil = nothing yet
	asked  int
	frames int
}

func (k *keeper) meter() *meter {
	if k.known == nil {
		k.known = newMeter()
	}
	return k.known
}

func (k *keeper) together() int { return k.limit }

func (k *keeper) askAll(_ context.Context, asks []ask) ([]answer, error) {
	k.asked++
	out := make([]answer, len(asks))
	for i, a := range asks {
		k.frames++
		out[i] = k.answer(a)
	}
	if k.spoil != nil {
		out = k.spoil(k.asked-1, out)
	}
	if out == nil {
		return nil, collect.ErrTimeout
	}
	return out, nil
}

func (k *keeper) answer(a ask) answer {
	refusal := answer{kind: refused, word: wire.NoSuchData}
	if a.di>>24 != 0x06 || len(a.parameters) != 6 {
		return refusal
	}
	s, err := wire.Minutes.Decode(a.parameters[1:])
	if err != nil {
		return refusal
	}
	at, n := timeOf(s), int(a.parameters[0]>>4)*10+int(a.parameters[0]&15)
	if at.Before(k.oldest) {
		if at = k.oldest; k.strict {
			return refusal
		}
	}
	if t := at.Truncate(k.every); t.Before(at) {
		if at = t.Add(k.every); k.strict {
			return refusal
		}
	}
	var data []byte
	for ; n > 0 && !at.After(recordNoon); at = at.Add(k.every) {
		if k.hole != nil && k.hole(at) {
			continue
		}
		n--
		r := wire.Record{At: stampOf(at)}
		digits := bcd4(at)
		for range 4 {
			r.Classes[3] = append(r.Classes[3], digits...)
		}
		if data, err = r.Append(data); err != nil {
			return refusal
		}
	}
	if data == nil {
		return refusal
	}
	return answer{kind: answered, di: a.di, data: data}
}

func stampOf(t time.Time) wire.Stamp {
	return wire.Stamp{Year: t.Year(), Month: uint8(t.Month()), Day: uint8(t.Day()), Hour: uint8(t.Hour()), Minute: uint8(t.Minute())}
}

// bcd4 is XXXXXX.XX of a time: day and hour, and minute behind the point.
func bcd4(t time.Time) []byte {
	b := func(n int) byte { return byte(n/10<<4 | n%10) }
	return []byte{b(t.Minute()), b(t.Hour()), b(t.Day()), 0}
}

func energyAt(t time.Time) string {
	return fmt.Sprintf("%g", float64(t.Day()*10000+t.Hour()*100+t.Minute())/100)
}

func quarters(from time.Time, n int) (all []time.Time) {
	for i := range n {
		all = append(all, from.Add(time.Duration(i)*15*time.Minute))
	}
	return all
}

func (k *keeper) recall(t interface{ Fatalf(string, ...any) }, times []time.Time) ([]map[string]collect.Value, error) {
	rows := make([]map[string]collect.Value, len(times))
	r := collect.Recall{Times: times, Now: recordNoon, Step: 15 * time.Minute}
	r.Items = []schema.Item{{Name: "E", DI: "00010000", Format: "XXXXXX.XX", Scale: 1}, {Name: "R", DI: "00020000", Format: "XXXXXX.XX", Scale: 1}}
	err := k.meter().recall(context.Background(), k, r, rows)
	for i, at := range times {
		for _, it := range r.Items {
			v, said := rows[i][it.Name]
			missing := at.After(recordNoon) || at.Before(k.oldest) || !at.Truncate(k.every).Equal(at)
			switch {
			case !said || v.Value == nil && v.Err == nil:
				t.Fatalf("nothing is said of %v", at)
			case v.Value != nil && (missing || v.Value.Text() != energyAt(at)):
				t.Fatalf("%v is %s", at, v.Value.Text())
			case errors.Is(v.Err, collect.ErrNoData) && (!missing || at.After(recordNoon)):
				t.Fatalf("%v: %v, though there is a record or may yet be one", at, v.Err)
			}
		}
	}
	return rows, err
}

// As many records as go into one frame are asked for at once, and as many requests
// as may go together; how often a meter records is learnt.
func TestRecall_Requests(t *testing.T) {
	for _, c := range []struct {
		name               string
		every              time.Duration
		limit, asked, most int
	}{
		{"as often as they are wanted", 15 * time.Minute, 1, 4, 4}, // six records of 32 bytes in a frame
		{"more often", 5 * time.Minute, 1, 19, 19},                 // the first answer has two of the times
		{"at once", 15 * time.Minute, 13, 1, 4},
		{"more often, at once", 5 * time.Minute, 13, 3, 22},
	} {
		k := &keeper{limit: c.limit, every: c.every, oldest: recordNoon.AddDate(0, 0, -3)}
		if _, err := k.recall(t, quarters(recordNoon.Add(-5*time.Hour), 20)); err != nil || k.asked != c.asked || k.frames > c.most {
			t.Errorf("%s: asked %d times for %d, want %d and at most %d: %v", c.name, k.asked, k.frames, c.asked, c.most, err)
		}
	}
}

// How often a meter records is learnt anew: neither a hole in its records nor one
// that is out of the ordinary, nor another setting, makes each later time cost a
// request of its own.
func TestRecall_IntervalLearntAnew(t *testing.T) {
	times := quarters(recordNoon.Add(-5*time.Hour), 20)
	from := recordNoon.AddDate(0, 0, -1)
	for name, first := range map[string]func(k *keeper) []time.Time{
		"a hole": func(k *keeper) []time.Time {
			k.hole = func(at time.Time) bool { return at.After(from) && at.Before(from.Add(4*time.Hour)) }
			return []time.Time{from, from.Add(15 * time.Minute)}
		},
		"a hole, after others": func(k *keeper) []time.Time {
			k.hole = func(at time.Time) bool { return at.After(from) && at.Before(from.Add(4*time.Hour)) }
			return quarters(from.Add(-time.Hour), 6)
		},
		"records twice as often, once": func(k *keeper) []time.Time {
			k.every = 450 * time.Second
			return quarters(from, 4)
		},
		"another setting": func(k *keeper) []time.Time {
			k.every = 5 * time.Minute
			return quarters(from, 4)
		},
	} {
		for _, limit := range []int{1, 13} {
			k := &keeper{limit: limit, every: 15 * time.Minute, oldest: recordNoon.AddDate(0, 0, -3)}
			asked := first(k)
			rows := make([]map[string]collect.Value, len(asked))
			r := collect.Recall{Times: asked, Now: recordNoon, Step: 15 * time.Minute}
			r.Items = []schema.Item{{Name: "E", DI: "00010000", Format: "XXXXXX.XX", Scale: 1}}
			if err := k.meter().recall(t.Context(), k, r, rows); err != nil {
				t.Fatal(err)
			}
			k.every, k.hole, k.asked, k.frames = 15*time.Minute, nil, 0, 0
			if _, err := k.recall(t, times); err != nil {
				t.Fatal(err)
			}
			k.asked, k.frames = 0, 0
			if _, err := k.recall(t, times); err != nil || k.frames > 4 {
				t.Errorf("%s: %d requests for %d times, want 4: %v", name, k.frames, len(times), err)
			}
		}
	}
}

// A meter that records rarely is asked for no fewer times at once.
func TestRecall_RareRecords(t *testing.T) {
	k := &keeper{limit: 1, every: time.Hour, oldest: recordNoon.AddDate(0, 0, -3)}
	for range 2 {
		k.asked = 0
		if _, err := k.recall(t, quarters(recordNoon.Add(-5*time.Hour), 20)); err != nil || k.asked > 4 {
			t.Errorf("%d requests, want 4: %v", k.asked, err)
		}
	}
}

// What has gone wrong with an answer costs that answer, and never makes a value
// that isn't the one of its time, nor a gap for good where there is a record.
func TestRecall_Spoilt(t *testing.T) {
	times := quarters(recordNoon.Add(-5*time.Hour), 20)
	for _, c := range []struct {
		name  string
		spoil func(n int, answers []answer) []answer
		good  int
	}{
		{"the first left out once", func(n int, a []answer) []answer {
			if n == 0 {
				a[0] = answer{}
			}
			return a
		}, 20},
		{"always left out", func(_ int, a []answer) []answer { return make([]answer, len(a)) }, 0},
		{"a bad block", func(n int, a []answer) []answer {
			if n == 0 {
				a[1].data = []byte{0xe0, 0xe0}
			}
			return a
		}, 19},
		{"cut in the second record", func(n int, a []answer) []answer {
			if n == 0 {
				a[0].data = a[0].data[:50]
			}
			return a
		}, 20},
		{"of other times", func(n int, a []answer) []answer {
			if n == 0 {
				a[0], a[1] = a[1], a[0]
			}
			return a
		}, 13},
		{"refused for no reason", func(n int, a []answer) []answer {
			if n == 0 {
				a[0] = answer{kind: refused, word: 1}
			}
			return a
		}, 19},
	} {
		k := &keeper{limit: 13, every: 15 * time.Minute, oldest: recordNoon.AddDate(0, 0, -3)}
		if c.name == "of other times" {
			k.limit = 2
			k.spoil = nil
		}
		k.spoil = c.spoil
		rows := make([]map[string]collect.Value, len(times))
		r := collect.Recall{Times: times, Now: recordNoon, Step: 15 * time.Minute}
		r.Items = []schema.Item{{Name: "E", DI: "00010000", Format: "XXXXXX.XX", Scale: 1}}
		if err := newMeter().recall(t.Context(), k, r, rows); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		good := 0
		for i, at := range times {
			if v := rows[i]["E"]; v.Value != nil {
				if good++; v.Value.Text() != energyAt(at) {
					t.Errorf("%s: %v is %s", c.name, at, v.Value.Text())
				}
			}
		}
		if good < c.good || k.asked > 2*len(times) {
			t.Errorf("%s: %d good values after %d requests, want %d", c.name, good, k.asked, c.good)
		}
	}
}

// That there is no record is final only where there is a later one: else it may be
// to come, whatever the node's clock says.
func TestRecall_NotThereYet(t *testing.T) {
	for _, strict := range []bool{false, true} {
		for _, limit := range []int{1, 13} {
			k := &keeper{limit: limit, every: time.Hour, oldest: recordNoon.Add(-3 * time.Hour), strict: strict}
			for _, c := range []struct {
				name  string
				times []time.Time
				final int
			}{
				{"to come, by a node eight hours ahead", quarters(recordNoon.Add(15*time.Minute), 32), 0},
				{"between two records, and to come", quarters(recordNoon.Add(-15*time.Minute), 3), 1},
				{"older than it keeps", quarters(recordNoon.Add(-5*time.Hour), 8), 8},
				{"between", quarters(recordNoon.Add(-45*time.Minute), 3), 3},
			} {
				if strict && c.final > 0 && k.known.passed.IsZero() {
					if _, err := k.recall(t, quarters(recordNoon, 1)); err != nil {
						t.Fatal(err)
					}
				}
				rows, err := k.recall(t, c.times)
				final := 0
				for _, row := range rows {
					if errors.Is(row["E"].Err, collect.ErrNoData) {
						final++
					}
				}
				if err != nil || final != c.final {
					t.Errorf("%s, strict %v: %d times are said not to be kept, want %d: %v", c.name, strict, final, c.final, err)
				}
			}
		}
	}
	k := &keeper{limit: 1, every: time.Hour, oldest: recordNoon.Add(time.Hour)} // no records at all
	if rows, err := k.recall(t, quarters(recordNoon.Add(-time.Hour), 2)); err != nil || !errors.Is(rows[0]["E"].Err, collect.ErrNoValue) {
		t.Errorf("%+v, %v", rows, err)
	}
}

// A meter that falls silent half way leaves what is known.
func TestRecall_FallsSilent(t *testing.T) {
	k := &keeper{limit: 1, every: 15 * time.Minute, oldest: recordNoon.AddDate(0, 0, -3)}
	k.spoil = func(n int, a []answer) []answer {
		if n == 2 {
			return nil
		}
		return a
	}
	rows, err := k.recall(t, quarters(recordNoon.Add(-5*time.Hour), 20))
	if !errors.Is(err, collect.ErrTimeout) || rows[11]["E"].Value == nil || !errors.Is(rows[12]["E"].Err, collect.ErrTimeout) {
		t.Errorf("%v: %+v, %+v", err, rows[11], rows[12])
	}
}

// Whatever times are asked for, however a meter records, and whatever gets lost.
func TestRecall_NeverAnotherTimes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := &keeper{
			limit: rapid.SampledFrom([]int{1, 2, 13}).Draw(rt, "limit"), every: time.Duration(rapid.SampledFrom([]int{1, 5, 15, 30, 60}).Draw(rt, "every")) * time.Minute,
			oldest: recordNoon.Add(-time.Duration(rapid.IntRange(0, 400).Draw(rt, "oldest")) * time.Hour / 10).Truncate(time.Minute),
		}
		k.spoil = func(_ int, a []answer) []answer {
			for i := range a {
				if rapid.IntRange(0, 9).Draw(rt, "lost") == 0 {
					a[i] = answer{}
				}
			}
			return a
		}
		var times []time.Time
		at := recordNoon.Add(-time.Duration(rapid.IntRange(0, 200).Draw(rt, "from")) * 15 * time.Minute)
		for range rapid.IntRange(1, 30).Draw(rt, "times") {
			times = append(times, at)
			at = at.Add(time.Duration(rapid.SampledFrom([]int{1, 1, 1, 1, 2, 9}).Draw(rt, "step")) * 15 * time.Minute)
		}
		if _, err := k.recall(rt, times); err != nil {
			rt.Fatalf("%v", err)
		}
		if k.asked > 2*len(times) {
			rt.Fatalf("asked %d times for %d", k.asked, len(times))
		}
	})
}
