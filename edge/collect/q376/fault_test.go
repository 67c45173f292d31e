package q376_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/q376"
	"gnomon/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mad is a line of which no answer can be taken without a panic.
type mad struct{ asked chan struct{} }

func (l mad) Read([]byte, time.Time) (int, error) { <-l.asked; panic("out of range") }
func (l mad) Close() error                        { return nil }
func (l mad) Write([]byte, time.Time) error {
	l.asked <- struct{}{}
	return nil
}

// What is heard is taken in beside the polls, and may fail there: the line is of no
// use then, and whoever waits for an answer hears why.
func TestListen_Fault(t *testing.T) {
	d := q376.NewOver(func(schema.Source) (medium.Line, error) { return mad{make(chan struct{}, 16)}, nil })
	p, err := schema.ParsePolicy([]byte(`{"source":{"kind":"q376-tcp","address":"cco:1"},"meters":[{"id":"m","address":"000000000001","model":"dlt645-1p"}],"period":"15m"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Release(p.Source)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := d.Poll(ctx, collect.Request{Source: p.Source, Meter: p.Meters[0], Items: p.ItemsOf(p.Meters[0]), Priority: 5})
	if !errors.Is(err, collect.ErrFault) || len(r.Values) != len(p.ItemsOf(p.Meters[0])) {
		t.Errorf("%d values, %v", len(r.Values), err)
	}
}
