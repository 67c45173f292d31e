package experiment

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestConfigIsCheckedBeforeAnythingStarts(t *testing.T) {
	good := Config{HTTP: "http://127.0.0.1:1", MQTT: "127.0.0.1:2", Nodes: 10}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		says   string
		change func(*Config)
	}{
		{"nodes is 0", func(c *Config) { c.Nodes = 0 }},
		{"nodes is 100001", func(c *Config) { c.Nodes = MaxNodes + 1 }},
		{"apps is 65", func(c *Config) { c.Apps = 65 }},
		{"rounds is -1", func(c *Config) { c.Rounds = -1 }},
		{"fault-rate is 0.95", func(c *Config) { c.FaultRate = 0.95 }},
		{"delay is -1s", func(c *Config) { c.Delay = -time.Second }},
		{"mqtt address", func(c *Config) { c.MQTT = "nowhere" }},
		{"the limit is 20000", func(c *Config) { c.Nodes, c.MQTT = 20_001, "10.0.0.1:1883" }},
		{"open files", func(c *Config) { c.Nodes, c.Writers = 100_000, 1000 }},
	} {
		c := good
		tc.change(&c)
		err := c.Validate()
		if tc.says == "open files" && err == nil {
			continue // a machine that allows a hundred thousand
		}
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("got %v, want ErrConfig saying %q", err, tc.says)
		}
	}
}

func TestSourcesAreSpreadOnlyWhenNeeded(t *testing.T) {
	if a := source(20_000, 19_999); a != nil {
		t.Errorf("20000 nodes connect from %v", a)
	}
	counts := map[string]int{}
	for i := range 100_000 {
		counts[source(100_000, i).String()]++
	}
	for a, n := range counts {
		if n > perSource || !strings.HasPrefix(a, "127.") {
			t.Errorf("%d connections from %s", n, a)
		}
	}
}

func TestDelaysKeepTheirMeanAndBounds(t *testing.T) {
	const mean = 50 * time.Millisecond
	draw, r := Delays(mean), rand.New(rand.NewPCG(1, 2))
	var sum time.Duration
	for range 10_000 {
		d := draw(r)
		if d < mean/2 || d > mean*3/2 {
			t.Fatalf("%s is out of bounds", d)
		}
		sum += d
	}
	if got := sum / 10_000; got < mean*98/100 || got > mean*102/100 {
		t.Errorf("mean %s", got)
	}
	if d := Delays(0)(r); d != 0 {
		t.Errorf("no delay is %s", d)
	}
}
