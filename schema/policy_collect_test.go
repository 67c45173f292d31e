package schema

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const kept645 = `"source":{"kind":"dlt645","port":"/dev/x"},"meters":[{"id":"m","address":"000000000001","model":"dlt645-3p"}]`

func TestParsePolicy_CollectDefaults(t *testing.T) {
	p, err := ParsePolicy([]byte(`{` + kept645 + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Collect != CollectCurrent || p.Delay != 0 || p.Backfill != nil || p.Keep != 7 || p.SilentShare != 25 || p.Report.Batch != 200 || p.Report.MaxDelay.D() != time.Minute {
		t.Errorf("%+v", p)
	}
	p, err = ParsePolicy([]byte(`{` + kept645 + `,"collect":"freeze","backfill":{"at":["+5m","00:30"],"days":10}}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Delay.D() != time.Minute || p.Backfill.MaxPointsPerRead != 20 || p.Keep != 10 {
		t.Errorf("%+v", p)
	}
	all, _ := ModelNamed("dlt645-3p")
	kept := p.ItemsOf(p.Meters[0])
	if len(kept) == 0 || len(kept) >= len(all.Items) {
		t.Errorf("%d of the model's %d items are frozen", len(kept), len(all.Items))
	}
	for _, it := range kept {
		if it.Name == "EImportT1" || it.Name == "DImport" {
			t.Errorf("%s is in no load record", it.Name)
		}
	}
}

func TestParsePolicy_CollectRefuses(t *testing.T) {
	modbus := `"source":{"kind":"modbus-tcp","address":"h:502"},"meters":[{"id":"m","model":"sdm630"}]`
	back := func(more string) string { return `,"backfill":{"at":["+5m"]` + more + `}` }
	for _, c := range []struct{ name, in, path, says string }{
		{"collect", kept645 + `,"collect":"guess"`, "collect", "current or freeze"},
		{"freezes of Modbus", modbus + `,"collect":"freeze"`, "collect", "DL/T 645 and 698.45"},
		{"back-fill of Modbus", modbus + back(""), "backfill", "modbus-tcp"},
		{"delay", kept645 + `,"delay":"15m"`, "delay", "limit 15m"},
		{"zone", kept645 + `,"zone":"CST"`, "zone", "+08:00"},
		{"zone too far", kept645 + `,"zone":"+15:00"`, "zone", "14 hours"},
		{"silent share", kept645 + `,"silentShare":101`, "silentShare", "limit 100"},
		{"keep", kept645 + `,"keep":400`, "keep", "366"},
		{"keep less than back-fill", kept645 + `,"keep":2` + back(""), "keep", "the 3 days of backfill"},
		{"no time", kept645 + `,"backfill":{}`, "backfill.at", "at least one"},
		{"no such time", kept645 + `,"backfill":{"at":["5m"]}`, "backfill.at[0]", "value 5m"},
		{"before the slot", kept645 + `,"backfill":{"at":["+-5m"]}`, "backfill.at[0]", "+-5m"},
		{"after the next slot", kept645 + `,"backfill":{"at":["+5m","+20m"]}`, "backfill.at[1]", "limit 15m"},
		{"days", kept645 + back(`,"days":40`), "backfill.days", "limit 31"},
		{"points", kept645 + back(`,"maxPointsPerRead":100`), "backfill.maxPointsPerRead", "limit 99"},
		{"too many slots", kept645 + `,"period":"1m","meters":[{"id":"m","address":"000000000001","protocol":""}],"items":[{"name":"V","di":"02010100","format":"XXX.X"}],"backfill":{"at":["01:00"],"days":20}`, "backfill.days", "28800 slots"},
		{"half minutes", kept645 + `,"period":"90s"` + `,"backfill":{"at":["+5s"]}`, "period", "whole minutes"},
		{"item that isn't frozen", `"source":{"kind":"dlt645","port":"/dev/x"},"meters":[{"id":"m","address":"000000000001"}],"items":[{"name":"T1","di":"00010100","format":"XXXXXX.XX"}],"collect":"freeze"`, "items[0]", "freeze"},
		{"nothing frozen", `"source":{"kind":"dlt645","port":"/dev/x"},"meters":[{"id":"m","address":"000000000001"}],"items":[{"name":"T1","di":"00010100","format":"XXXXXX.XX"}]` + back(""), "backfill", "none of the items"},
		{"batch", kept645 + `,"report":{"batch":5000}`, "report.batch", "4096"},
		{"max delay", kept645 + `,"report":{"maxDelay":"1ms"}`, "report.maxDelay", "1ms"},
	} {
		_, err := ParsePolicy([]byte(`{` + c.in + `}`))
		wantProblem(t, err, c.path)
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", c.name, err, c.says)
		}
	}
}

// What is in load records and daily freezes, where, and only in the right size.
func TestItem_Kept(t *testing.T) {
	for _, c := range []struct {
		di, format     string
		class, at      int
		record, freeze bool
	}{
		{"02010100", "XXX.X", 1, 0, true, false}, {"02010300", "XXX.X", 1, 4, true, false}, {"02020200", "XXX.XXX", 1, 9, true, false},
		{"02800002", "XX.XX", 1, 15, true, false}, {"02030000", "XX.XXXX", 2, 0, true, false}, {"02040300", "XX.XXXX", 2, 21, true, false},
		{"02060000", "X.XXX", 3, 0, true, false}, {"00010000", "XXXXXX.XX", 4, 0, true, true}, {"00040000", "XXXXXX.XX", 4, 12, true, false},
		{"00080000", "XXXXXX.XX", 5, 12, true, false}, {"02800005", "XX.XXXX", 6, 3, true, false}, {"00020300", "XXXXXX.XX", 0, 0, false, true},
		{"02010100", "XXXXXX", 1, 0, false, false}, {"02010000", "XXX.X", 0, 0, false, false}, {"00000000", "XXXXXX.XX", 0, 0, false, false}, {"04000101", "XXXXXXXX", 0, 0, false, false},
	} {
		it := Item{DI: c.di, Format: c.format}
		class, at, ok := it.LoadRecord()
		_, _, frozen := it.DailyFreeze()
		if ok != c.record || frozen != c.freeze || ok && (class != c.class || at != c.at) {
			t.Errorf("%s %s: class %d byte %d %v, frozen %v", c.di, c.format, class, at, ok, frozen)
		}
	}
}

// Every time has exactly one slot that it is in, whatever period, align and zone.
func TestPolicy_Slots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minutes := rapid.SampledFrom([]int{1, 5, 15, 30, 60, 1440}).Draw(t, "period")
		p := Policy{
			Period: Duration(time.Duration(minutes) * time.Minute), Align: Duration(time.Duration(rapid.IntRange(0, minutes-1).Draw(t, "align")) * time.Minute),
			Zone: rapid.SampledFrom([]string{"+00:00", "+08:00", "-03:30", "+05:45"}).Draw(t, "zone"),
		}
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0)
		next := p.NextSlot(now)
		if !next.After(now) || next.Sub(now) > p.Period.D() || !p.NextSlot(next).Equal(next.Add(p.Period.D())) {
			t.Fatalf("after %v comes %v", now, next)
		}
		local := next.Add(p.Offset()).UTC()
		if p.Daily() && (local.Hour() != 0 || local.Minute() != 0) {
			t.Fatalf("%v is no midnight in %s", next, p.Zone)
		}
		all := p.Slots(now, next.Add(9*p.Period.D()), 5)
		if len(all) != 5 || !all[4].Equal(next.Add(9*p.Period.D())) {
			t.Fatalf("%v", all)
		}
	})
}
