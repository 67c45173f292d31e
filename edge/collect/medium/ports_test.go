package medium

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/schema"
)

// fake is a port on a medium that notices when it is open twice.
type fake struct {
	Turn
	t    *testing.T
	open *int
	used schema.Source
}

func (f *fake) Use(s schema.Source) { f.used = s }
func (f *fake) Close()              { *f.open-- }

// Whoever waits for a port while it is released takes the one that follows: none
// waits for ever, and a medium is never open twice.
func TestPorts_ReleasedUnderWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ports Ports[*fake]
		open := 0
		fresh := func(schema.Source) *fake {
			if open++; open != 1 {
				t.Errorf("the medium is open %d times", open)
			}
			return &fake{t: t, open: &open}
		}
		source := schema.Source{Kind: schema.SourceModbusRTU, Port: "/dev/x", Baud: 9600}
		done := make(chan error)
		poll := func() {
			p, err := ports.Take(t.Context(), source, 1, fresh)
			if err == nil {
				if p.used != source {
					t.Errorf("used as %+v", p.used)
				}
				time.Sleep(time.Second)
				p.Give()
			}
			done <- err
		}
		const rounds = 5
		for range rounds {
			go poll()
			synctest.Wait()
			go func() { ports.Release(source); done <- nil }()
			synctest.Wait()
			go poll()
			go func() { ports.Release(source); done <- nil }()
			synctest.Wait()
		}
		for range 4 * rounds {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		ports.Release(source)
		ports.Release(source) // there is none any more
		if open != 0 || ports.Len() != 0 {
			t.Errorf("%d media and %d ports are left", open, ports.Len())
		}
	})
}

// Sources that differ in time limits share a medium; those of another line don't.
func TestPorts_OnePerMedium(t *testing.T) {
	var ports Ports[*fake]
	open := 0
	fresh := func(schema.Source) *fake { return &fake{t: t, open: &open} }
	source := schema.Source{Kind: schema.SourceModbusTCP, Address: "a"}
	slower := source
	slower.Tries = 3
	first, err := ports.Take(t.Context(), source, 1, fresh)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := ports.Take(ended, slower, 1, fresh); !errors.Is(err, context.Canceled) || p != nil {
		t.Errorf("%v, %v, though another has the turn", p, err)
	}
	first.Give()
	if p, err := ports.Take(t.Context(), slower, 1, fresh); err != nil || p != first || p.used.Tries != 3 {
		t.Errorf("%p, %v, want %p with its new limits", p, err, first)
	}
	other := source
	other.Address = "b"
	if p, err := ports.Take(t.Context(), other, 1, fresh); err != nil || p == first || ports.Len() != 2 {
		t.Errorf("%p, %v, %d ports", p, err, ports.Len())
	}
}
