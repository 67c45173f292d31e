package loop

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/shadow"
)

// meterPolicy polls one item every period.
func meterPolicy(period, more string) string {
	return `{"source":{"kind":"modbus-tcp","address":"127.0.0.1:1"},"meters":[{"id":"m"}],"items":[{"name":"V","address":0}],"period":"` + period + `"` + more + `}`
}

func TestPolicy_CollectsAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.meter.set(230, nil)
		w.boot()
		defer w.shutdown()
		w.want("collect:meter", 4, meterPolicy("10s", ""))
		w.says("collect:meter", map[string]string{"phase": `"collecting"`, "observedVersion": "4", "period": `"10s"`})
		time.Sleep(11 * time.Second)
		w.says("collect:meter", map[string]string{"readings.m.V.value": "230", "cycle.success": "1", "cycle.error": "", "readings.m.V.quality": ""})
		w.says("", map[string]string{"node.policies.meter": `"collecting"`})
		w.meter.set(231, collect.ErrTimeout)
		time.Sleep(10 * time.Second)
		w.says("collect:meter", map[string]string{"readings.m.V.value": "230", "readings.m.V.quality": `"stale"`, "readings.m.V.reason": `"timeout"`, "cycle.success": "0"})
	})
}

// Readings go up no more often than the policy says, and the latest does.
func TestPolicy_ReportRateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("collect:meter", 1, meterPolicy("100ms", `,"report":{"every":"5s"}`))
		begin := w.cloud.count("collect:meter")
		for i := range 600 {
			w.meter.set(int64(i), nil)
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.cloud.count("collect:meter") - begin; n < 11 || n > 13 {
			t.Errorf("%d reports in a minute, want 12", n)
		}
		time.Sleep(5 * time.Second)
		w.says("collect:meter", map[string]string{"readings.m.V.value": "599"})
	})
}

// With onChange, an unchanged value costs nothing.
func TestPolicy_OnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.meter.set(5, nil)
		w.boot()
		defer w.shutdown()
		w.want("collect:meter", 1, meterPolicy("1s", `,"report":{"onChange":true}`))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		begin := w.cloud.count("collect:meter")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.cloud.count("collect:meter") - begin; n != 0 {
			t.Errorf("%d reports of a value that stays the same", n)
		}
		w.meter.set(6, nil)
		time.Sleep(2 * time.Second)
		w.says("collect:meter", map[string]string{"readings.m.V.value": "6"})
	})
}

func TestPolicy_InvalidKeepsTheLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.meter.set(5, nil)
		w.boot()
		w.want("collect:meter", 1, meterPolicy("1s", ""))
		time.Sleep(2 * time.Second)
		w.want("collect:meter", 2, meterPolicy("1ns", ""))
		w.says("collect:meter", map[string]string{"phase": `"collecting"`, "error.code": `"invalid"`, "observedVersion": "2", "period": `"1s"`})
		w.shutdown()
		w.meter.set(6, nil)
		w.boot()
		defer w.shutdown()
		time.Sleep(2 * time.Second)
		w.says("collect:meter", map[string]string{"phase": `"collecting"`, "error.code": `"invalid"`, "period": `"1s"`, "readings.m.V.value": "6"})
		w.want("collect:meter", 3, meterPolicy("2s", ""))
		w.says("collect:meter", map[string]string{"error": "", "period": `"2s"`, "observedVersion": "3"})
		w.want("collect:never", 1, meterPolicy("1ns", ""))
		w.says("collect:never", map[string]string{"phase": `"failed"`, "error.code": `"invalid"`, "period": ""})
	})
}

func TestPolicy_Deleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("collect:meter", 1, meterPolicy("1s", ""))
		w.cloud.set(state.Desired{Name: "collect:meter", Version: 2, Deleted: true})
		if !w.cloud.forgotten("collect:meter") || w.disk.remembered(t, "collect:meter") != nil {
			t.Error("something of it is kept")
		}
		if _, ok := w.policies.Report("meter"); ok {
			t.Error("the policy still runs")
		}
	})
}

// The report of a policy of many meters is no larger than its shadow may be.
func TestReadings_BesideDesired(t *testing.T) {
	var meters []*shadow.Value
	all := map[string]map[string]collect.Reading{}
	for m := range 480 {
		id := fmt.Sprint("m", m)
		meters = append(meters, shadow.NewObject(
			shadow.Member{Key: "id", Value: shadow.Text(id)}, shadow.Member{Key: "address", Value: shadow.Text("202600000001")},
			shadow.Member{Key: "protocol", Value: shadow.Text("dlt645")}))
		items := map[string]collect.Reading{}
		for _, name := range []string{"V", "I", "PF", "P", "E"} {
			items[name] = collect.Reading{Value: shadow.Int(2300), At: time.Unix(1e9, 0), Quality: collect.Good}
		}
		all[id] = items
	}
	desired := shadow.NewObject(shadow.Member{Key: "meters", Value: shadow.NewArray(meters...)})
	p := &policy{applied: reconcile.Applied{Desired: desired}}
	reported := p.report(Policy{Phase: "collecting"}, collect.Report{Readings: all})
	if n := len(desired.AppendJSON(nil)) + len(reported.AppendJSON(nil)); n > shadow.DefaultLimits.StateBytes {
		t.Errorf("desired and reported have %d bytes, a shadow at most %d", n, shadow.DefaultLimits.StateBytes)
	}
	if reported.Get("readings").Len() == 0 || reported.Get("omitted") == nil {
		t.Errorf("%d meters are in it, omitted: %v", reported.Get("readings").Len(), reported.Get("omitted"))
	}
}

// A policy with more readings than fit into a shadow reports what fits, and how
// many meters don't.
func TestReadings_Bounded(t *testing.T) {
	all := map[string]map[string]collect.Reading{}
	for m := range 1000 {
		items := map[string]collect.Reading{}
		for i := range 20 {
			items[fmt.Sprint("item", i)] = collect.Reading{Value: shadow.Int(int64(i)), At: time.Unix(1e9, 0), Quality: collect.Good}
		}
		all[fmt.Sprintf("meter-%04d", m)] = items
	}
	v, omitted := readingsOf(all, maxReadings, nil)
	if size := len(v.AppendJSON(nil)); size > maxReadings || omitted == 0 || v.Len()+omitted != 1000 || v.Len() == 0 {
		t.Errorf("%d bytes, %d meters, %d omitted", size, v.Len(), omitted)
	}
}

// Two policies that a port has no room for together: the one that came first stays,
// the other says who is in the way, with numbers, and is taken when there is room.
func TestPolicy_NoRoomBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.meter.set(5, nil)
		w.boot()
		busy := func(period string) string {
			return `{"source":{"kind":"modbus-tcp","address":"127.0.0.1:1","pause":"700ms"},"meters":[{"id":"m"}],"items":[{"name":"V","address":0}],"period":"` + period + `"}`
		}
		w.want("collect:first", 1, busy("1s"))
		w.want("collect:another", 1, busy("1s"))
		time.Sleep(2 * time.Second)
		w.says("collect:first", map[string]string{"phase": `"collecting"`, "error.code": ""})
		w.says("collect:another", map[string]string{
			"phase": `"failed"`, "error.code": `"no-room"`,
			"error.message": `"policy another: no room on the port 127.0.0.1:1: another with 700ms of every 1s (70 %) and first with 700ms of every 1s (70 %) are 140 % of the time, at most 100 %: lengthen a period, or read less"`,
		})
		w.shutdown()
		w.boot()
		defer w.shutdown()
		time.Sleep(2 * time.Second)
		w.says("collect:first", map[string]string{"phase": `"collecting"`, "error.code": ""})
		w.says("collect:another", map[string]string{"error.code": `"no-room"`})
		w.want("collect:first", 2, busy("3s"))
		time.Sleep(2 * time.Second)
		w.says("collect:another", map[string]string{"phase": `"collecting"`, "error.code": "", "observedVersion": "1"})
	})
}

// What is said of a task, of what is missing and of back-fill.
func TestReport_Telemetry(t *testing.T) {
	at := time.Date(2026, 6, 29, 12, 0, 0, 0, time.UTC)
	r := collect.Report{
		Stored: true, Faults: 3, Task: collect.Task{State: collect.TaskDone, Start: at, End: at.Add(time.Minute), Meters: 9, Success: 7, Sent: 12, Received: 10},
		Backfill: &collect.Filling{At: at, Rounds: 3, Points: 40, NoData: 2, Left: 1, Silent: 1, Sent: 5, Received: 4, Error: "odd"},
		Readings: map[string]map[string]collect.Reading{
			"m1": {"V": {Value: shadow.Int(1), At: at, Quality: collect.Good}},
			"m2": {"V": {At: at, Quality: collect.Missing, Reason: "timeout"}, "I": {At: at, Quality: collect.Missing, Reason: "timeout"}},
			"m3": {"V": {Value: shadow.Int(1), At: at, Quality: collect.Stale, Reason: "given-up"}},
		},
	}
	v := new(policy).report(Policy{Phase: "collecting"}, r)
	for path, want := range map[string]string{
		"task":    `{"end":"2026-06-29T12:01:00.000Z","meters":9,"received":10,"sent":12,"start":"2026-06-29T12:00:00.000Z","state":"done","success":7}`,
		"filled":  `{"at":"2026-06-29T12:00:00.000Z","error":"odd","left":1,"noData":2,"open":false,"points":40,"received":4,"rounds":3,"sent":5,"silent":1}`,
		"faults":  `3`,
		"missing": `{"given-up":{"first":["m3"],"meters":1},"timeout":{"first":["m2"],"meters":1}}`,
	} {
		if got := string(v.Get(path).AppendJSON(nil)); got != want {
			t.Errorf("%s is %s\nwant %s", path, got, want)
		}
	}
}

// Three hundred meters of thirteen items, a third of them missing something, with
// names as long as they may be: the shadow has room for it, with and without a store.
func TestReport_FitsItsShadow(t *testing.T) {
	for _, stored := range []bool{true, false} {
		var meters []*shadow.Value
		r := collect.Report{Stored: stored, Task: collect.Task{State: collect.TaskDone}, Backfill: &collect.Filling{Rounds: 1e9, Points: 1e12, Error: strings.Repeat("x", 5000)}, Readings: map[string]map[string]collect.Reading{}}
		r.Cycle = collect.Cycle{At: time.Unix(1e9, 0), Error: strings.Repeat("y", 5000)}
		for m := range 300 {
			id := fmt.Sprintf("meter-%d-%s", m, strings.Repeat("n", m%8))
			meters = append(meters, shadow.NewObject(
				shadow.Member{Key: "id", Value: shadow.Text(id)}, shadow.Member{Key: "address", Value: shadow.Text("202600000001")}, shadow.Member{Key: "model", Value: shadow.Text("dlt645-3p")}))
			items := map[string]collect.Reading{}
			for i := range 13 {
				items[fmt.Sprint("item", i)] = collect.Reading{Value: shadow.Int(123456), At: time.Unix(1e9, 0), Quality: collect.Stale, Reason: []string{"timeout", "given-up", "overrun", "garbled"}[m%4]}
			}
			r.Readings[id] = items
		}
		desired := shadow.NewObject(shadow.Member{Key: "meters", Value: shadow.NewArray(meters...)})
		p := &policy{applied: reconcile.Applied{Desired: desired}}
		reported := p.report(Policy{Phase: "collecting"}, r)
		if n := len(desired.AppendJSON(nil)) + len(reported.AppendJSON(nil)); n > shadow.DefaultLimits.StateBytes {
			t.Errorf("stored %v: %d bytes, at most %d", stored, n, shadow.DefaultLimits.StateBytes)
		}
		if omitted := reported.Get("omitted"); omitted == nil || stored && len(reported.Get("readings").AppendJSON(nil)) > maxStored {
			t.Errorf("stored %v: %v omitted", stored, omitted)
		}
	}
}
