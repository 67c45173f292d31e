package bank

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net"
	"testing"
	"time"

	"github.com/goburrow/modbus"
	"go.uber.org/goleak"

	"gnomon/edge/collect"
	driver "gnomon/edge/collect/modbus"
	"gnomon/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, cfg Config) string {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// Another's master reads what is held, and is refused what isn't.
func TestBank_Goburrow(t *testing.T) {
	h := modbus.NewTCPClientHandler(serve(t, Config{Units: 3, Delay: time.Millisecond}))
	h.Timeout = 30 * time.Second
	defer h.Close()
	c := modbus.NewClient(h)
	for unit := 1; unit <= 3; unit++ {
		h.SlaveId = byte(unit)
		if got, err := c.ReadInputRegisters(30, 4); err != nil || math.Float32frombits(binary.BigEndian.Uint32(got[4:])) != Float(unit, 32) {
			t.Errorf("unit %d: % x, %v", unit, got, err)
		}
		if got, err := c.ReadHoldingRegisters(999, 1); err != nil || binary.BigEndian.Uint16(got) != Register(unit, 999) {
			t.Errorf("unit %d: % x, %v", unit, got, err)
		}
		got, err := c.ReadCoils(5, 20)
		if err != nil || len(got) != 3 {
			t.Fatalf("unit %d: % x, %v", unit, got, err)
		}
		for i := range 20 {
			if got[i/8]>>(i%8)&1 == 1 != Bit(unit, 5+i) {
				t.Errorf("unit %d: bit %d of % x", unit, i, got)
			}
		}
	}
	for _, c := range []struct {
		unit byte
		ask  func() ([]byte, error)
		code byte
	}{
		{1, func() ([]byte, error) { return c.ReadHoldingRegisters(999, 2) }, illegalAddress},
		{1, func() ([]byte, error) { return c.WriteSingleRegister(1, 1) }, illegalFunction},
		{4, func() ([]byte, error) { return c.ReadHoldingRegisters(1, 1) }, noUnit},
	} {
		h.SlaveId = c.unit
		_, err := c.ask()
		var refused *modbus.ModbusError
		if !errors.As(err, &refused) || refused.ExceptionCode != c.code {
			t.Errorf("unit %d: %v, want exception %d", c.unit, err, c.code)
		}
	}
}

// Our own driver reads a model of it in one request.
func TestBank_Driver(t *testing.T) {
	p, err := schema.ParsePolicy([]byte(`{"source":{"kind":"modbus-tcp","address":"` + serve(t, Config{Units: 1}) + `","timeout":"30s"},"meters":[{"id":"m","model":"sdm630"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	d := driver.New()
	defer d.Release(p.Source)
	r, err := d.Poll(t.Context(), collect.Request{Source: p.Source, Meter: p.Meters[0], Items: p.ItemsOf(p.Meters[0])})
	if err != nil || r.Frames != 1 || r.Values["V1"].Value.Text() != "1" || r.Values["I1"].Value.Text() != "1.0058594" {
		t.Errorf("%d requests, %v: %v", r.Frames, err, r.Values["I1"].Value.Text())
	}
}

func TestNew_Refuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Units: 248}, {Units: 1, Places: 1}, {Units: 1, Delay: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
