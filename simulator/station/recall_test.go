package station

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645"
	"gnomon/edge/collect/dlt698"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/storetest"
	"gnomon/schema"
	"gnomon/schema/reading"
)

// today is when it is where time passes: the time of bubbles begins before there
// were such meters.
func today() time.Time { return time.Now().Add(noon.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))) }

// frozen is what an item of a meter was at a time of the meter's own clock.
func frozen(m *Meter, it schema.Item, at time.Time) (float64, bool) {
	id := it.DI
	if it.OAD != "" {
		id = it.OAD
	}
	v, ok := m.Truth(id, at.Add(-m.drift))
	if it.OAD != "" {
		return float64(v) * it.Scale, ok
	}
	_, decimals, _ := schema.FormatDigits(it.Format)
	return float64(v) / math.Pow10(decimals), ok
}

// freezePolicy reads freezes of some meters; more are members besides.
func freezePolicy(t *testing.T, source string, meters []*Meter, more string) *schema.Policy {
	t.Helper()
	var list []map[string]string
	for _, m := range meters {
		list = append(list, map[string]string{"id": fmt.Sprint("m", m.Number), "address": m.Digits(), "model": m.Model()})
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	p, err := schema.ParsePolicy([]byte(`{"source":{` + source + `},"meters":` + string(text) + more + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// judgeRows holds what a meter said of some times against what it had; of times
// that it lacks it must have no data, of those to come no value.
func judgeRows(t *testing.T, m *Meter, p *schema.Policy, times []time.Time, got collect.Recalled, lacks func(time.Time) bool) {
	t.Helper()
	for i, at := range times {
		for _, it := range p.KeptOf(p.Meters[m.Number-1]) {
			v := got.Rows[i][it.Name]
			want, ok := frozen(m, it, at)
			switch {
			case !ok || lacks(at):
				if final := errors.Is(v.Err, collect.ErrNoData); v.Value != nil || final == at.After(noon) {
					t.Errorf("meter %d, %s at %v: %v, final %v", m.Number, it.Name, at, v, final)
				}
			case v.Value == nil || math.Abs(number(v.Value)-want) > 1e-6:
				t.Errorf("meter %d, %s at %v: %v %v, want %v", m.Number, it.Name, at, v.Value.Text(), v.Err, want)
			}
		}
	}
}

// recallers are ways to the same meters.
func recallers(t *testing.T, cfg Config, test func(t *testing.T, name string, area *Station, d collect.Historian, source string)) {
	t.Helper()
	inBubble(t, func(t *testing.T) {
		r := newRig(t, cfg, "")
		r.cycle()
		test(t, "CCO", r.area, r.driver, `"kind":"q376-tcp","address":"cco:1"`)
	})
	for _, kind := range []string{"dlt645", "dlt698"} {
		one := cfg
		one.Share698 = share698(kind)
		inBubble(t, func(t *testing.T) {
			area, err := New(one)
			if err != nil {
				t.Fatal(err)
			}
			defer area.Close()
			for _, m := range area.Meters() {
				m.drift = cfg.Drift
			}
			source := `"kind":"` + kind + `","port":"/dev/none","baud":9600`
			p := freezePolicy(t, source, area.Meters(), "")
			line := &bus{source: p.Source, reply: 20 * time.Millisecond, answer: household(area.Meters())}
			open := func(schema.Source) (medium.Line, error) { return line, nil }
			drivers := map[string]collect.Historian{"dlt645": dlt645.NewOver(open), "dlt698": dlt698.NewOver(open)}
			test(t, kind, area, drivers[kind], source)
		})
	}
}

// What meters keep comes out as it was: of one time, of many, of scattered ones, of
// times that they have forgotten or don't know yet; whether they record every five
// minutes or as often as they are asked.
func TestRecall_ComesOutAsItWas(t *testing.T) {
	for _, record := range []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour} {
		recallers(t, Config{Meters: 6, Share698: 0.5, ThreePhase: 0.5, Record: record}, func(t *testing.T, name string, area *Station, d collect.Historian, source string) {
			p := freezePolicy(t, source, area.Meters(), `,"backfill":{"at":["+5m"]}`)
			slots := p.Slots(noon.Add(-30*time.Hour), noon, 1000)
			old := p.Slots(noon.AddDate(0, 0, -10).Add(-45*time.Minute), noon.AddDate(0, 0, -10).Add(30*time.Minute), 1000)
			lacks := func(at time.Time) bool {
				return at.After(noon) || at.Before(noon.AddDate(0, 0, -recordDays)) || at.Truncate(record) != at
			}
			for _, times := range [][]time.Time{
				slots[len(slots)-1:], slots[:20], slots[3:23], {slots[0], slots[1], slots[7], slots[40], slots[41]}, old,
				{noon.Add(-30 * time.Minute), noon.Add(-15 * time.Minute), noon, noon.Add(15 * time.Minute)},
			} {
				for i, m := range p.Meters {
					got, err := d.Recall(t.Context(), collect.Recall{
						Request: collect.Request{Source: p.Source, Meter: m, Items: p.KeptOf(m), Priority: 14},
						Times:   times, Step: p.Period.D(),
					})
					if err != nil || got.Frames == 0 || got.Answers == 0 {
						t.Fatalf("%s: meter %d: %v after %d frames", name, i+1, err, got.Frames)
					}
					judgeRows(t, area.Meters()[i], p, times, got, lacks)
				}
			}
			d.Release(p.Source)
		})
	}
}

// Twenty times of a meter take a few requests, not twenty.
func TestRecall_ManyPointsInOneRead(t *testing.T) {
	for _, c := range []struct {
		share float64
		more  string
		most  int
	}{
		{0, "", 2},                      // 20 load records of 103 bytes, 13 in one request
		{1, `,"maxFrame":1000`, 20 / 8}, // columns of a whole meter
	} {
		inBubble(t, func(t *testing.T) {
			r := newRig(t, Config{Meters: 1, Share698: c.share, Record: 15 * time.Minute}, c.more)
			r.cycle()
			p := freezePolicy(t, `"kind":"q376-tcp","address":"cco:1"`+c.more, r.area.Meters(), `,"backfill":{"at":["+5m"]}`)
			m := p.Meters[0]
			times := p.Slots(noon.Add(-5*time.Hour), noon, 20)
			got, err := r.driver.Recall(t.Context(), collect.Recall{Request: collect.Request{Source: p.Source, Meter: m, Items: p.KeptOf(m)}, Times: times, Step: p.Period.D()})
			if err != nil || got.Frames > c.most {
				t.Errorf("%d requests for %d times of %d items, %v", got.Frames, len(times), len(p.KeptOf(m)), err)
			}
			judgeRows(t, r.area.Meters()[0], p, times, got, func(time.Time) bool { return false })
		})
	}
}

// Daily freezes are those of the day, by the meter's clock, which is ahead of UTC.
func TestRecall_Daily(t *testing.T) {
	recallers(t, Config{Meters: 4, Share698: 0.5}, func(t *testing.T, name string, area *Station, d collect.Historian, source string) {
		const ahead = 8 * time.Hour
		for _, m := range area.Meters() {
			m.drift = ahead
		}
		p := freezePolicy(t, source, area.Meters(), `,"zone":"+08:00","period":"24h","collect":"freeze","delay":"30m"`)
		times := p.Slots(noon.Add(-5*24*time.Hour), noon, 10)
		if times[4].Hour() != 16 || !p.Daily() {
			t.Fatalf("%v", times)
		}
		for i, m := range p.Meters {
			got, err := d.Recall(t.Context(), collect.Recall{
				Request: collect.Request{Source: p.Source, Meter: m, Items: p.KeptOf(m)}, Times: times, Now: noon, Step: p.Period.D(), Zone: p.Offset(), Daily: true,
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for k, at := range times {
				for _, it := range p.KeptOf(m) {
					want, ok := frozen(area.Meters()[i], it, at.Add(ahead))
					if v := got.Rows[k][it.Name]; ok && (v.Value == nil || math.Abs(number(v.Value)-want) > 1e-6) {
						t.Errorf("%s: meter %d, %s at %v: %v %v, want %v", name, i+1, it.Name, at, v.Value.Text(), v.Err, want)
					}
				}
			}
		}
		d.Release(p.Source)
	})
}

// A policy of freezes needs what is worked out, of lines and of a CCO.
func TestBusTime_Freezes(t *testing.T) {
	for _, c := range []struct {
		name, source, more string
		meters             int
		share              float64
	}{
		{"load records at 2400", `"kind":"dlt645"`, "", 12, 0},
		{"load records at 9600", `"kind":"dlt645","baud":9600,"preamble":0`, "", 30, 0},
		{"daily freezes", `"kind":"dlt645"`, `,"period":"24h"`, 10, 0},
		{"minute freezes", `"kind":"dlt698"`, "", 20, 1},
		{"minute freezes in small frames", `"kind":"dlt698","maxFrame":150,"baud":2400`, "", 8, 1},
		{"load records through a CCO", `"kind":"q376","parallel":5`, "", 60, 0},
		{"a slow line to the CCO", `"kind":"q376","baud":2400,"parallel":20`, "", 60, 0},
		{"minute freezes through a CCO", `"kind":"q376","parallel":10`, "", 60, 1},
		{"both", `"kind":"q376","baud":9600,"parallel":5`, "", 60, 0.5},
		{"daily freezes through a CCO", `"kind":"q376","parallel":5`, `,"period":"24h"`, 60, 0.5},
	} {
		inBubble(t, func(t *testing.T) {
			const reply, frame = 300 * time.Millisecond, 100 * time.Millisecond
			probe := new(schema.Source)
			if err := json.Unmarshal([]byte("{"+c.source+"}"), probe); err != nil {
				t.Fatal(err)
			}
			if probe.Kind == schema.SourceQ376 && probe.Baud == 0 {
				probe.Baud = 9600
			}
			cfg := Config{Meters: c.meters, Branches: 60, Share698: c.share, ThreePhase: 0.5, HopDelay: reply / 2, MeterDelay: frame, Baud: probe.Baud, Record: 15 * time.Minute, Now: today}
			r := newRig(t, cfg, "")
			more := `,"collect":"freeze","delay":"2m"` + c.more
			p := freezePolicy(t, c.source+`,"port":"/dev/none"`, r.area.Meters(), more)
			if probe.Kind == schema.SourceQ376 {
				compare(t, c.name, p, schema.Pace{Reply: reply, Frame: frame}, steady(t, p, r.driver))
				return
			}
			answer := func(request []byte) []byte {
				for _, m := range r.area.Meters() {
					if out := m.Answer(request, today()); out != nil {
						return out
					}
				}
				return nil
			}
			line := &bus{source: p.Source, reply: reply, answer: answer}
			open := func(schema.Source) (medium.Line, error) { return line, nil }
			drivers := map[schema.Protocol]collect.Driver{schema.DLT645: dlt645.NewOver(open), schema.DLT698: dlt698.NewOver(open)}
			compare(t, c.name, p, schema.Pace{Reply: reply}, steady(t, p, drivers[p.Source.Kind.Protocol()]))
		})
	}
}

// A quarter of a day of an area with loss, dead meters and wrong clocks: whatever a
// cycle misses is there an hour after the meters are back, and every value is the
// one that the meter had.
func TestBackfill_Area(t *testing.T) {
	for _, collects := range []string{"current", "freeze"} {
		inBubble(t, func(t *testing.T) {
			r := newRig(t, Config{
				Meters: 60, Share698: 0.5, ThreePhase: 0.3, Loss: 0.01, Seed: 7, Record: 5 * time.Minute, Now: today,
				Dead: []Outage{{First: 10, Last: 14, From: time.Hour, To: 4 * time.Hour}, {First: 20, Last: 20}},
			}, "")
			store := storetest.NewMemory()
			e := collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceQ376TCP: r.driver}, Store: store, Now: today})
			p := freezePolicy(t, `"kind":"q376-tcp","address":"cco:1"`, r.area.Meters(), `,"collect":"`+collects+`","delay":"1m","backfill":{"at":["+7m"],"days":1}`)
			if err := e.Apply("area", 1, p); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			began := today()
			go func() { _ = e.Run(ctx); close(ended) }()
			time.Sleep(6 * time.Hour)
			cancel()
			<-ended
			missed := 0
			for i, m := range p.Meters {
				for _, at := range p.Slots(began, began.Add(5*time.Hour), 1000) {
					for _, it := range p.KeptOf(m) {
						v, ok := store.At(storetest.Point{Policy: "area", Meter: m.ID, Item: it.Name, At: at})
						if m.ID == "m20" {
							if v.State == reading.Good {
								t.Fatalf("%s of a dead meter: %+v", it.Name, v)
							}
							continue
						}
						if !ok || v.State != reading.Good {
							missed++
							t.Errorf("%s: %s of %v is %+v", m.ID, it.Name, at, v)
							continue
						}
						when := at
						if v.Source == reading.Cycle && collects == "current" {
							continue // judged by other tests: of when it was read
						}
						want, _ := frozen(r.area.Meters()[i], it, when)
						if got, _ := strconv.ParseFloat(fmt.Sprintf("%de%d", v.Number.Mantissa, v.Number.Exponent), 64); math.Abs(got-want) > 1e-6 {
							t.Fatalf("%s: %s of %v is %v, want %v: %+v", m.ID, it.Name, at, got, want, v)
						}
					}
				}
				if missed > 20 {
					t.FailNow()
				}
			}
			report, _ := e.Report("area")
			if b := report.Backfill; b.Points < 5*11 || b.Rounds < 10 || report.Cycle.Overruns != 0 {
				t.Errorf("%+v, %+v", b, report.Cycle)
			}
			if i := slices.IndexFunc(p.Meters, func(m schema.Meter) bool { return m.ID == "m20" }); i < 0 || report.Readings["m20"] == nil {
				t.Error("nothing is said of the dead meter")
			}
		})
	}
}
