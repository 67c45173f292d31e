package modbus

import (
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

func sdm630(t *testing.T) []schema.Item {
	t.Helper()
	model, ok := schema.ModelNamed("sdm630")
	if !ok {
		t.Fatal("the model is gone")
	}
	return model.Items
}

// checkPymodbus knows the demonstration's slave: a load that swings, whose
// values belong together.
func checkPymodbus(t *testing.T, v map[string]float64) {
	t.Helper()
	near := func(name string, want, off float64) {
		if got, ok := v[name]; !ok || math.Abs(got-want) > off {
			t.Errorf("%s is %v, want %v ± %v", name, got, want, off)
		}
	}
	for _, phase := range []string{"1", "2", "3"} {
		near("V"+phase, 230, 1.51)
		near("I"+phase, 4, 1.01)
		near("PF"+phase, 0.95, 0.0201)
		near("P"+phase, v["V"+phase]*v["I"+phase]*v["PF"+phase], 0.01)
	}
	near("P", v["P1"]+v["P2"]+v["P3"], 0.01)
	near("F", 50, 0.0201)
	near("EImport", 1662.69+0.02, 0.0201) // 20 s at 3 kW and more
	near("EExport", 0.5, 0)
}

// checkLibmodbus knows testdata/libmodbus_slave.c: every value says where it
// stands.
func checkLibmodbus(t *testing.T, v map[string]float64) {
	t.Helper()
	for _, it := range sdm630(t) {
		if got, ok := v[it.Name]; !ok || got != 1+float64(it.Address)/4 {
			t.Errorf("%s is %v, want %v", it.Name, got, 1+float64(it.Address)/4)
		}
	}
}

// asker polls a rig, as unit 1.
type asker struct {
	*rig
	driver *Driver
}

func newAsker(t *testing.T, mk maker, kind schema.SourceKind) *asker {
	t.Helper()
	a := &asker{newRig(t, mk, kind), New()}
	t.Cleanup(func() { a.driver.Release(a.source) })
	return a
}

func (a *asker) ask(items []schema.Item) (collect.Result, error) {
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	return a.driver.Poll(ctx, collect.Request{Source: a.source, Meter: schema.Meter{ID: "m", Unit: 1}, Items: items})
}

// good polls the model until that succeeds, and wants right values then.
func (a *asker) good() {
	a.t.Helper()
	items := sdm630(a.t)
	deadline := time.Now().Add(30 * time.Second)
	for {
		result, err := a.ask(items)
		if err == nil {
			a.maker.check(a.t, numbers(a.t, result))
			return
		}
		for name, v := range result.Values {
			if v.Value != nil {
				a.t.Errorf("%s is %s, but the poll failed: %v", name, v.Value.Text(), err)
			}
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("no good poll: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// bad polls the model and wants one of the reasons.
func (a *asker) bad(reasons ...error) {
	a.t.Helper()
	_, err := a.ask(sdm630(a.t))
	for _, reason := range reasons {
		if errors.Is(err, reason) {
			return
		}
	}
	a.t.Errorf("the slave is gone: %v, want one of %v", err, reasons)
}

func numbers(t *testing.T, r collect.Result) map[string]float64 {
	t.Helper()
	out := make(map[string]float64)
	for name, v := range r.Values {
		f, err := strconv.ParseFloat(v.Value.Text(), 64)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		out[name] = f
	}
	return out
}

// foreign runs a test with every slave on every one of the media.
func foreign(t *testing.T, media []schema.SourceKind, test func(a *asker)) {
	t.Parallel()
	for _, mk := range makers {
		for _, kind := range media {
			if mk.tcp && kind != schema.SourceModbusTCP {
				continue
			}
			t.Run(mk.name+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				test(newAsker(t, mk, kind))
			})
		}
	}
}

func TestForeign_Killed(t *testing.T) {
	foreign(t, Kinds, func(a *asker) {
		a.good()
		a.slave.kill()
		a.bad(collect.ErrLink, collect.ErrTimeout)
		a.restart()
		a.good()
		a.good()
	})
}

// The connection that the driver holds is dead by the next poll, but nothing
// has failed on it yet.
func TestForeign_KilledUnnoticed(t *testing.T) {
	foreign(t, Kinds, func(a *asker) {
		a.good()
		a.slave.kill()
		a.restart()
		result, err := a.ask(sdm630(a.t))
		if err != nil {
			a.t.Fatalf("the slave is back, a request is tried twice: %v", err)
		}
		a.maker.check(a.t, numbers(a.t, result))
	})
}

func TestForeign_Unplugged(t *testing.T) {
	lines := []schema.SourceKind{schema.SourceModbusRTU, schema.SourceModbusRTUOver}
	foreign(t, lines, func(a *asker) {
		a.good()
		for range 2 {
			a.unplug()
			a.slave.kill() // it had its power from the line
			a.bad(collect.ErrLink)
			a.plug()
			a.restart()
			a.good()
		}
		a.good()
	})
}

// What libmodbus holds besides the meter: each function, each byte order, and
// what it refuses.
func TestForeign_LibmodbusPlaces(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, makers[1], kind)
			want := make(map[string]string)
			var items []schema.Item
			add := func(value string, it schema.Item) {
				it.Name, it.Scale = strconv.Itoa(len(items)), 1
				want[it.Name] = value
				items = append(items, it)
			}
			for _, address := range []int{0, 1, 7, 8, 100, 255, 298} {
				n := worth(1, address)
				add(strconv.FormatBool(n&1 == 1), schema.Item{Function: 1, Address: address, Type: "bool", Order: "ABCD"})
				add(strconv.FormatBool(n&1 == 1), schema.Item{Function: 2, Address: address, Type: "bool", Order: "ABCD"})
				add(strconv.Itoa(int(n)), schema.Item{Function: 3, Address: address, Type: "uint16", Order: "ABCD"})
			}
			for i, order := range orders {
				add("230.1", schema.Item{Function: 4, Address: 100 + 2*i, Type: "float32", Order: order})
			}
			add("", schema.Item{Function: 3, Address: 300, Type: "uint16", Order: "ABCD"}) // one too many, in a block with 298
			result, err := a.ask(items)
			if !errors.Is(err, collect.ErrException) {
				t.Errorf("%v, want the refusal of one item", err)
			}
			for _, it := range items {
				if v := result.Values[it.Name]; v.Value.Text() != want[it.Name] {
					t.Errorf("function %d %s %s at %d is %q, %v; want %q", it.Function, it.Type, it.Order, it.Address, v.Value.Text(), v.Err, want[it.Name])
				}
			}
			again, _ := a.ask(items)
			if again.Frames >= result.Frames {
				t.Errorf("%d requests, then %d: nothing was learnt from the refusal", result.Frames, again.Frames)
			}
		})
	}
}
