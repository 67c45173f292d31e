package station

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/q376"
	"gnomon/edge/collect/q376/wire"
	"gnomon/schema"
	"gnomon/shadow"
)

// noon is when it is in the areas of these tests: values don't change.
var noon = time.Date(2026, 6, 29, 12, 0, 0, 0, time.UTC)

// rig is the real master and an area, in virtual time.
type rig struct {
	t      *testing.T
	area   *Station
	driver *q376.Driver
	policy *schema.Policy
	cut    func(net.Conn) net.Conn // spoils the line; nil = doesn't
	opened int
	refuse int // so many connections are refused from now on
}

func newRig(t *testing.T, cfg Config, source string) *rig {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return noon }
	}
	area, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, area: area}
	r.policy = r.parse(source, area.Meters())
	r.driver = q376.NewOver(func(schema.Source) (medium.Line, error) {
		if r.refuse > 0 {
			r.refuse--
			return nil, fmt.Errorf("%w: refused", collect.ErrLink)
		}
		r.opened++
		ours, theirs := net.Pipe()
		if r.cut != nil {
			theirs = r.cut(theirs)
		}
		go area.Attach(theirs)
		return medium.Over(ours), nil
	})
	t.Cleanup(func() {
		r.driver.Release(r.policy.Source)
		area.Close()
	})
	return r
}

// parse makes a policy of what is said of its source, for some meters.
func (r *rig) parse(source string, meters []*Meter) *schema.Policy {
	r.t.Helper()
	type meter struct {
		ID      string `json:"id"`
		Address string `json:"address"`
		Model   string `json:"model"`
	}
	var list []meter
	for _, m := range meters {
		list = append(list, meter{fmt.Sprint("m", m.Number), m.Digits(), m.Model()})
	}
	text, err := json.Marshal(list)
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := schema.ParsePolicy([]byte(`{"period":"15m","source":{"kind":"q376-tcp","address":"cco:1"` + source + `},"meters":` + string(text) + `}`))
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// worth is what an item of a meter is.
func worth(m *Meter, it schema.Item, now time.Time) (float64, bool) {
	if it.Record != "" {
		at := m.frozenAt(strings.HasPrefix(it.Record, "5006"), it.Nth, now)
		if it.OAD == "20210200" {
			f, err := strconv.ParseFloat(at.Format("20060102150405"), 64)
			return f, err == nil
		}
		q, ok := quantity698(0x00100201)
		if strings.HasPrefix(it.OAD, "0020") {
			q, ok = quantity698(0x00200201)
		}
		v, _ := m.value(q, at)
		return float64(v) * it.Scale, ok
	}
	if it.OAD != "" {
		v, ok := m.Truth(it.OAD, now)
		return float64(v) * it.Scale, ok
	}
	v, ok := m.Truth(it.DI, now)
	_, decimals, _ := schema.FormatDigits(it.Format)
	return float64(v) / math.Pow10(decimals), ok
}

func number(v *shadow.Value) float64 {
	var f float64
	text, err := json.Marshal(v)
	if err != nil || json.Unmarshal(text, &f) != nil {
		return math.NaN()
	}
	return f
}

// poll reads a meter, and returns how many values are right; a wrong one fails
// the test, whatever was done to the answers.
func (r *rig) poll(n int) (right int, err error) {
	r.t.Helper()
	m := r.policy.Meters[n-1]
	items := r.policy.ItemsOf(m)
	result, err := r.driver.Poll(r.t.Context(), collect.Request{Source: r.policy.Source, Meter: m, Items: items, Priority: 5})
	return r.judge(n, items, result.Values), err
}

func (r *rig) judge(n int, items []schema.Item, values map[string]collect.Value) (right int) {
	r.t.Helper()
	for _, it := range items {
		v, there := values[it.Name]
		switch {
		case !there || v.Value == nil && v.Err == nil:
			r.t.Errorf("meter %d: nothing is said of %s", n, it.Name)
		case v.Value == nil:
		default:
			want, ok := worth(r.area.Meters()[n-1], it, r.area.Now())
			if got := number(v.Value); !ok || math.Abs(got-want) > 1e-6 {
				r.t.Errorf("meter %d: %s is %v, want %v", n, it.Name, got, want)
			}
			right++
		}
	}
	return right
}

// cycle runs one cycle of the rig's policy by the real engine.
func (r *rig) cycle() collect.Report {
	r.t.Helper()
	return r.cycles(1)
}

func (r *rig) cycles(n uint64) collect.Report {
	r.t.Helper()
	e := collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceQ376TCP: r.driver}})
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	if err := e.Apply("area", 1, r.policy); err != nil {
		r.t.Fatal(err)
	}
	go func() { _ = e.Run(ctx); close(ended) }()
	report, _ := e.Report("area")
	for report.Cycles < n {
		<-e.Changed()
		report, _ = e.Report("area")
	}
	cancel()
	<-ended
	for i, m := range r.policy.Meters {
		values := make(map[string]collect.Value)
		for name, reading := range report.Readings[m.ID] {
			v := collect.Value{Value: reading.Value, At: reading.At}
			if reading.Value == nil {
				v.Err = errors.New(reading.Reason)
			}
			values[name] = v
		}
		r.judge(slices.IndexFunc(r.area.Meters(), func(a *Meter) bool { return a.Digits() == m.Address })+1, r.policy.ItemsOf(r.policy.Meters[i]), values)
	}
	return report
}

// Every item of every model comes out as it does on a line of the meter's own.
func TestDriver_ReadsEverything(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 40, Share698: 0.4, ThreePhase: 0.3, Drift: time.Hour}, "")
		began := time.Now()
		report := r.cycle()
		st := r.area.Status()
		if report.Cycle.Success != 40 || report.Cycle.Error != "" {
			t.Errorf("%+v", report.Cycle)
		}
		if st.Archive != 40 || st.Most > 5 || st.Answered != st.Reads || !st.Routing || len(st.Denied) != 0 {
			t.Errorf("%+v", st)
		}
		if took := time.Since(began); report.Cycle.Duration > 3*time.Minute {
			t.Errorf("took %v, the cycle %v", took, report.Cycle.Duration)
		}
	})
}

// Thirteen frames go into one request, five meters at once: 300 meters take what
// can be worked out.
func TestDriver_ThreeHundred(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 300, Loss: 0.01, Seed: 1, Dead: []Outage{{First: 50, Last: 55}}}, "")
		report := r.cycle()
		if report.Cycle.Success != 294 {
			t.Errorf("%+v", report.Cycle)
		}
		st := r.area.Status()
		if st.Most != 5 || report.Cycle.Frames > 320 {
			t.Errorf("%d requests, %+v", report.Cycle.Frames, st)
		}
		// 294 reads of 9 frames, some 0.6 s and 9 × 0.25 s, by 5; the dead after all others.
		if report.Cycle.Duration > 6*time.Minute {
			t.Errorf("took %v", report.Cycle.Duration)
		}
		report = r.cycles(3)
		if report.Cycle.Overruns != 0 {
			t.Errorf("slots were missed: %+v", report.Cycle)
		}
	})
}

// The archive of the CCO becomes what the policy names: what is missing is added,
// what is of another protocol added anew, what nobody names deleted, unless the
// policy says not to.
func TestDriver_Archive(t *testing.T) {
	for _, archive := range []string{"sync", "add"} {
		inBubble(t, func(t *testing.T) {
			r := newRig(t, Config{Meters: 100, Share698: 0.5}, `,"archive":"`+archive+`"`)
			for i := range 70 { // strangers, and some of the meters with the wrong protocol
				r.area.archive = append(r.area.archive, wire.Node{Address: address(t, fmt.Sprintf("%012d", 777000+i)), Protocol: wire.DLT645})
			}
			for _, m := range r.area.Meters()[:20] {
				r.area.archive = append(r.area.archive, wire.Node{Address: m.Address, Protocol: wire.DLT645})
			}
			want := map[string]int{"sync": 100, "add": 170}[archive]
			if report := r.cycle(); report.Cycle.Success != 100 {
				t.Errorf("%s: %+v", archive, report.Cycle)
			}
			if got := len(r.area.archive); got != want {
				t.Errorf("%s: %d meters in the archive, want %d", archive, got, want)
			}
			for _, n := range r.area.archive {
				if m := r.area.number[n.Address]; m != nil && m.Protocol != n.Protocol {
					t.Errorf("%s: %s is in the archive as %v", archive, n.Address, n.Protocol)
				}
			}
			before := r.area.Status().Requests
			r.cycle()
			if asked := r.area.Status().Requests - before; asked != 50+50*3+3 { // a request for each DL/T 645 meter, three for the others, pause, count, resume
				t.Errorf("%s: the second cycle asked %d times", archive, asked)
			}
		})
	}
}

// A CCO of narrower limits is found out: every meter is read all the same, in
// smaller parts and fewer at once; with the standard's codes, and with a vendor's.
func TestDriver_Limits(t *testing.T) {
	for _, vendor := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			r := newRig(t, Config{Meters: 30, ThreePhase: 1, VendorCodes: vendor, Limits: wire.Limits{MeterFrames: 4, Meters: 3, Payload: 200}}, `,"parallel":8`)
			if report := r.cycle(); report.Cycle.Success != 30 {
				t.Errorf("%+v", report.Cycle)
			}
			st := r.area.Status()
			if st.Most != 3 {
				t.Errorf("%+v", st)
			}
			many, long := st.Denied[109]+st.Denied[13], st.Denied[110]+st.Denied[14]
			if many < 5 || many > 40 || long < 1 || long > 20 {
				t.Errorf("denied %v: the limits are learnt, not run into again and again", st.Denied)
			}
			before := r.area.Status().Denied
			r.cycle()
			after := r.area.Status().Denied
			if n := after[109] + after[13] + after[110] + after[14] - before[109] - before[13] - before[110] - before[14]; n > 1 {
				t.Errorf("denied %d times in the second cycle", n)
			}
		})
	}
}

// A meter that the CCO is still busy with is waited for, and only that one.
func TestDriver_MeterBusy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 5}, "")
		r.cycle()
		busy := r.area.Meters()[2].Address
		r.area.mu.Lock()
		r.area.busy[busy] = 1
		r.area.mu.Unlock()
		time.AfterFunc(3*time.Second, func() {
			r.area.mu.Lock()
			delete(r.area.busy, busy)
			r.area.mu.Unlock()
		})
		began := time.Now()
		for _, n := range []int{3, 1, 2} {
			right, err := r.poll(n)
			if err != nil || right != 13 {
				t.Errorf("meter %d: %d values, %v", n, right, err)
			}
		}
		if denied := r.area.Status().Denied[111]; denied < 2 || denied > 5 {
			t.Errorf("denied %d times in %v", denied, time.Since(began))
		}
	})
}

// Reading on demand goes ahead of a batch that has all places.
func TestDriver_OnDemand(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 60}, "")
		e := collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceQ376TCP: r.driver}})
		if err := e.Apply("area", 1, r.policy); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = e.Run(ctx); close(ended) }()
		for r.area.Status().Reads < 10 {
			time.Sleep(100 * time.Millisecond)
		}
		began := time.Now()
		readings, err := e.Read(t.Context(), "area", "m60")
		if err != nil || len(readings) != 13 || readings["EImport"].Quality != collect.Good {
			t.Errorf("%v: %+v", err, readings)
		}
		st := r.area.Status()
		if st.Answered > 40 || st.OnDemand != 9 || time.Since(began) > 10*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), st)
		}
		if _, err := e.Read(t.Context(), "area", "nobody"); !errors.Is(err, collect.ErrUnknown) {
			t.Errorf("%v", err)
		}
		cancel()
		<-ended
	})
}
