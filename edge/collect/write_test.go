package collect

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
)

// pen is a driver that writes down what it is to write.
type pen struct {
	wrote []WriteRequest
	shows *shadow.Value // nil: what was written
	err   error
}

func (p *pen) Poll(context.Context, Request) (Result, error) { return Result{}, ErrLink }
func (p *pen) Release(schema.Source)                         {}
func (p *pen) Write(_ context.Context, w WriteRequest) (Value, error) {
	p.wrote = append(p.wrote, w)
	if p.shows != nil {
		return Value{Value: p.shows}, p.err
	}
	return Value{Value: w.Value}, p.err
}

const writable = `{"source":{"kind":"modbus-tcp","address":"h:502","functions":[1,3,5,6,16]},"meters":[{"id":"m"},{"id":"n"}],"items":[
	{"name":"limit","address":10,"scale":0.1},{"name":"whole","address":11},{"name":"relay","function":1,"address":3},{"name":"V","address":1}],
	"writes":[{"item":"limit","min":-5,"max":100,"times":2,"per":"1m"},{"item":"whole","min":0,"max":9,"times":9},{"item":"relay"}]}`

func writer(t *testing.T, p *pen, text string) *Engine {
	t.Helper()
	parsed, err := schema.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	e := New(Config{Drivers: map[schema.SourceKind]Driver{schema.SourceModbusTCP: p}})
	if err := e.Apply("p", 1, parsed); err != nil {
		t.Fatal(err)
	}
	return e
}

// What no policy lets, what is beyond its limits, and what is no such value, is
// refused by name and with numbers, and nothing is sent.
func TestWrite_Refuses(t *testing.T) {
	p := &pen{}
	e := writer(t, p, writable)
	for _, c := range []struct {
		policy, meter, item string
		value               *shadow.Value
		err                 error
		says                string
	}{
		{"q", "m", "limit", shadow.Int(1), ErrUnknown, ""},
		{"p", "x", "limit", shadow.Int(1), ErrUnknown, ""},
		{"p", "m", "x", shadow.Int(1), ErrNotWritable, "no item x"},
		{"p", "m", "V", shadow.Int(1), ErrNotWritable, "policy p doesn't let V be written"},
		{"p", "m", "limit", shadow.Float(100.1), ErrOutOfRange, "100.1 is not from -5 to 100"},
		{"p", "m", "limit", shadow.Float(-5.1), ErrOutOfRange, "-5.1 is not from -5 to 100"},
		{"p", "m", "limit", shadow.Flag(true), ErrOutOfRange, "a number is due"},
		{"p", "m", "relay", shadow.Int(1), ErrOutOfRange, "true or false is due"},
		{"p", "m", "relay", shadow.Text("true"), ErrOutOfRange, "true or false is due"},
	} {
		if _, err := e.Write(t.Context(), c.policy, c.meter, c.item, c.value); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if len(p.wrote) != 0 {
		t.Errorf("sent %+v", p.wrote)
	}
	off := writer(t, p, strings.Replace(writable, `{"source"`, `{"enabled":false,"source"`, 1))
	if _, err := off.Write(t.Context(), "p", "m", "relay", shadow.Flag(true)); !errors.Is(err, ErrNotWritable) {
		t.Errorf("a disabled policy: %v", err)
	}
	none := writer(t, p, strings.Replace(writable, `"writes":[{"item":"limit","min":-5,"max":100,"times":2,"per":"1m"},{"item":"whole","min":0,"max":9,"times":9},{"item":"relay"}]`, `"writes":[]`, 1))
	if _, err := none.Write(t.Context(), "p", "m", "relay", shadow.Flag(true)); !errors.Is(err, ErrNotWritable) {
		t.Errorf("a policy that says nothing of writing: %v", err)
	}
}

// An item may be written so often, and says when again; each meter's item counts for
// itself, refusals don't, and a change of the policy forgets nothing.
func TestWrite_Rate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pen{}
		e := writer(t, p, writable)
		write := func(meter string) error {
			_, err := e.Write(t.Context(), "p", meter, "limit", shadow.Int(7))
			return err
		}
		if err := errors.Join(write("m"), write("n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if _, err := e.Write(t.Context(), "p", "m", "limit", shadow.Int(1000)); !errors.Is(err, ErrOutOfRange) {
			t.Error(err)
		}
		p.err = ErrTimeout // it may have been written, so it counts
		if err := write("m"); !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
		p.err = nil
		time.Sleep(10 * time.Second)
		if err := write("m"); !errors.Is(err, ErrTooOften) || !strings.Contains(err.Error(), "2 in 1m0s are allowed; again in 30s") {
			t.Error(err)
		}
		changed, err := schema.ParsePolicy([]byte(strings.Replace(writable, `"max":100`, `"max":50`, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Apply("p", 2, changed); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(write("n"), write("m")); !errors.Is(err, ErrTooOften) {
			t.Error(err)
		}
		time.Sleep(31 * time.Second)
		if err := write("m"); err != nil {
			t.Error(err)
		}
		if len(p.wrote) != 5 {
			t.Errorf("%d were sent", len(p.wrote))
		}
	})
}

// What the meter shows is compared with what was written, as exactly as it can be.
func TestWrite_Shows(t *testing.T) {
	p := &pen{}
	e := writer(t, p, writable)
	p.shows = shadow.Float(33.3)
	if back, err := e.Write(t.Context(), "p", "m", "limit", shadow.Float(33.34)); err != nil || back.Value.Text() != "33.3" {
		t.Errorf("33.3 is all that tenths can show of 33.34: %v", err)
	}
	p.shows = shadow.Int(4)
	if back, err := e.Write(t.Context(), "p", "m", "whole", shadow.Int(5)); !errors.Is(err, ErrNotTaken) || back.Value.Text() != "4" {
		t.Errorf("%v", err)
	}
	p.shows = shadow.Flag(false)
	if _, err := e.Write(t.Context(), "p", "m", "relay", shadow.Flag(true)); !errors.Is(err, ErrNotTaken) {
		t.Errorf("%v", err)
	}
	w := p.wrote[0]
	if w.Function != 6 || w.Meter.ID != "m" || w.Item.Name != "limit" || w.Source.Address != "h:502" {
		t.Errorf("%+v", w)
	}
}
