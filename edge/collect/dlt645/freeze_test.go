package dlt645

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/schema"
)

// freezer is a meter that froze energies at some midnights, the latest first, that
// read as their day.
type freezer struct {
	limit int // requests that go together
	days  []time.Time
	say   func(nth int, a answer) answer // to requests for the time of a freeze; nil = the truth
	turn  int                            // the look at which midnight has come; 0 = never
	asked int                            // looks: times of freezes that were asked for
}

func (f *freezer) together() int { return f.limit }

func (f *freezer) askAll(_ context.Context, asks []ask) ([]answer, error) {
	out := make([]answer, len(asks))
	for i, a := range asks {
		nth, kind := int(a.di&0xff), a.di>>8&0xff
		if kind == 0 {
			if f.asked++; f.asked == f.turn {
				f.days = append([]time.Time{f.days[0].Add(day)}, f.days...)
			}
		}
		out[i] = answer{kind: refused, word: wire.NoSuchData}
		if there := nth >= 1 && nth <= min(len(f.days), maxFreezes); there && kind == 0 {
			at := f.days[nth-1]
			data, err := wire.Minutes.Append(nil, stampOf(at))
			if err != nil {
				return nil, err
			}
			out[i] = answer{kind: answered, di: a.di, data: data}
		} else if there {
			out[i] = answer{kind: answered, di: a.di, data: bcd4(f.days[nth-1])}
		}
		if kind == 0 && f.say != nil {
			out[i] = f.say(nth, out[i])
		}
	}
	return out, nil
}

// recall asks for some midnights, when the node's clock is at now.
func (f *freezer) recall(t interface{ Fatalf(string, ...any) }, m *meter, now time.Time, times ...time.Time) []error {
	rows := make([]map[string]collect.Value, len(times))
	r := collect.Recall{Times: times, Now: now, Step: day, Daily: true}
	r.Items = []schema.Item{{Name: "E", DI: "00010000", Format: "XXXXXX.XX", Scale: 1}}
	if err := m.recall(context.Background(), f, r, rows); err != nil {
		t.Fatalf("%v", err)
	}
	var all []error
	for i, at := range times {
		v := rows[i]["E"]
		if v.Value == nil && v.Err == nil || v.Value != nil && v.Value.Text() != energyAt(at) {
			t.Fatalf("%v: %v", at, v)
		}
		all = append(all, v.Err)
	}
	return all
}

// since are all midnights from some days ago to the last before noon, the latest first.
func since(days int) (all []time.Time) {
	for d := range days {
		all = append(all, recordNoon.Truncate(day).Add(-time.Duration(d)*day))
	}
	return all
}

func backward(times []time.Time) []time.Time {
	times = slices.Clone(times)
	slices.Reverse(times)
	return times
}

// A freeze that there is comes out whatever the clocks say; that there is none is
// said for good only where there is a later one.
func TestFreezes_Clocks(t *testing.T) {
	all := since(20)
	holes := slices.Concat(all[:3], all[6:]) // three midnights without power
	for _, c := range []struct {
		name   string
		days   []time.Time // of the meter
		now    time.Time   // of the node
		wanted []time.Time
		good   int
		final  int // no data
		asked  int // at most
	}{
		{"clocks agree", all, recordNoon, backward(all[:5]), 5, 0, 5},
		{"the meter is past midnight, the node isn't", all, all[0].Add(-2 * time.Minute), backward(all[1:6]), 5, 0, 6},
		{"the node's clock is two days behind", all, recordNoon.Add(-2 * day), backward(all[2:7]), 5, 0, 6},
		{"the node is past midnight, the meter isn't", all[1:], all[0].Add(time.Minute), backward(all[:4]), 3, 0, 5},
		{"the node's clock is ten days ahead", all, recordNoon.Add(10 * day), []time.Time{all[0].Add(8 * day), all[0].Add(9 * day)}, 0, 0, 5},
		{"midnights without power", holes, recordNoon, backward(all[:12]), 9, 3, 25},
		{"midnights without power, and behind", holes, recordNoon.Add(-2 * day), backward(all[2:12]), 7, 3, 25},
		{"a new meter", all[:4], recordNoon, backward(since(30)[:25]), 4, 21, 60},
		{"a meter without freezes", nil, recordNoon, backward(all), 0, 0, 25},
		{"older than it keeps", since(80)[:maxFreezes], recordNoon, since(80)[70:71], 0, 1, 1},
	} {
		for _, limit := range []int{1, 13} {
			f := &freezer{limit: limit, days: c.days}
			good, final := 0, 0
			for _, err := range f.recall(t, newMeter(), c.now, c.wanted...) {
				switch {
				case err == nil:
					good++
				case errors.Is(err, collect.ErrNoData):
					final++
				case !errors.Is(err, collect.ErrNoValue):
					t.Errorf("%s: %v", c.name, err)
				}
			}
			if good != c.good || final != c.final || f.asked > c.asked {
				t.Errorf("%s: %d good, %d not kept after %d looks; want %d, %d and at most %d", c.name, good, final, f.asked, c.good, c.final, c.asked)
			}
		}
	}
}

// What is wrong with the time of a freeze says nothing of whether there is one.
func TestFreezes_TimeUnknown(t *testing.T) {
	all := since(9)
	for _, c := range []struct {
		name string
		a    answer
		want error
	}{
		{"another refusal", answer{kind: refused, word: 1}, &Refusal{freezeTime | 3, 1}},
		{"no time", answer{kind: answered, data: []byte{0, 0, 0x41, 0x13, 0x26}}, collect.ErrGarbled},
		{"too short", answer{kind: answered, data: []byte{0, 0, 1}}, collect.ErrGarbled},
		{"left out", answer{}, collect.ErrGarbled},
	} {
		f := &freezer{limit: 13, days: all, say: func(int, answer) answer { return c.a }}
		err := f.recall(t, newMeter(), recordNoon, all[2])[0]
		var refusal *Refusal
		if want := (*Refusal)(nil); errors.As(c.want, &want) {
			if !errors.As(err, &refusal) || *refusal != *want {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if errors.Is(err, collect.ErrNoData) || f.asked != 1 {
			t.Errorf("%s: %v after %d looks", c.name, err, f.asked)
		}
	}
	for name, blank := range map[string]byte{"zeros": 0, "no digits": 0xff} {
		f := &freezer{limit: 13, days: all[:4], say: func(nth int, a answer) answer {
			if nth > 4 {
				return answer{kind: answered, data: []byte{blank, blank, blank, blank, blank}}
			}
			return a
		}}
		if err := f.recall(t, newMeter(), recordNoon, all[6])[0]; !errors.Is(err, collect.ErrNoData) {
			t.Errorf("%s in empty places: %v", name, err)
		}
	}
}

// Whatever midnights a meter has, wherever the node's clock is, and whenever midnight
// comes: no value is of another day, none that is there is given up for good, and
// finding one takes few looks.
func TestFreezes_Any(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var days []time.Time
		for _, at := range since(80) {
			if rapid.IntRange(0, 9).Draw(rt, "power") > rapid.IntRange(0, 3).Draw(rt, "worse") && len(days) < maxFreezes {
				days = append(days, at)
			}
		}
		f := &freezer{limit: 1, days: days, turn: rapid.IntRange(0, 40).Draw(rt, "turn")}
		if len(days) == 0 {
			f.turn = 0
		}
		known := newMeter()
		now := recordNoon.Add(time.Duration(rapid.IntRange(-30, 30).Draw(rt, "ahead")) * day / 10)
		for _, at := range backward(since(70)[:rapid.IntRange(1, 70).Draw(rt, "wanted")]) {
			before, kept := f.asked, f.days[:min(len(f.days), maxFreezes)]
			err := f.recall(rt, known, now, at)[0]
			turned := f.turn > before && f.turn <= f.asked
			has := slices.ContainsFunc(kept, at.Equal) && slices.ContainsFunc(f.days[:min(len(f.days), maxFreezes)], at.Equal)
			switch {
			case has && errors.Is(err, collect.ErrNoData):
				rt.Fatalf("%v: %v, though it is there", at, err)
			case turned:
			case f.asked-before > maxLooks || has != (err == nil):
				rt.Fatalf("%v: %v after %d looks", at, err, f.asked-before)
			case !has && len(kept) > 0 && kept[0].After(at) && !errors.Is(err, collect.ErrNoData):
				rt.Fatalf("%v: %v, want no data", at, err)
			}
		}
	})
}
