package crash

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/simulator/cloudtest"
)

func TestMain(m *testing.M) {
	code := cloudtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// TestKillsLoseNothingAcknowledged is the experiment itself, with fewer kills.
func TestKillsLoseNothingAcknowledged(t *testing.T) {
	cfg := Config{Cloud: cloudtest.Config(t), Kills: 5, Updaters: 60, Seed: uint64(time.Now().UnixNano()), Uptime: 400 * time.Millisecond}
	t.Logf("seed %d", cfg.Seed)
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Errorf("%d violations: %s", r.Violated, strings.Join(r.Violations, "\n"))
	}
	if r.Kills != 5 || r.Writes.Acknowledged < 5*30 || r.Writes.Unknown == 0 || r.Recovery.Count == 0 {
		t.Errorf("too little happened: %+v", r)
	}
	if r.Writes.Acknowledged+r.Writes.Refused+r.Writes.Unknown != r.Writes.Attempted {
		t.Errorf("writes don't add up: %+v", r.Writes)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{Kills: 0, Updaters: 2}, {Kills: 1, Updaters: 1}, {Kills: 1, Updaters: 2, Uptime: -1}, {Kills: 1, Updaters: 2, Pause: time.Hour}} {
		c.Cloud.HTTP = "127.0.0.1:1"
		if _, err := Run(t.Context(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v, want ErrConfig", c, err)
		}
	}
}

func TestSlotsMixTransportsAndKinds(t *testing.T) {
	const updaters = 200
	writers := map[Shadow]map[string]int{}
	for i := range updaters {
		s := slot(i, updaters)
		if writers[s.Shadow] == nil {
			writers[s.Shadow] = map[string]int{}
		}
		writers[s.Shadow][s.Section]++
	}
	shared, own, named := 0, 0, 0
	for s, by := range writers {
		switch {
		case by["reported"] == 2 && by["desired"] == 2:
			shared++
		case by["reported"]+by["desired"] == 1:
			own++
		default:
			t.Errorf("%s has writers %v", s, by)
		}
		if s.Name != "" {
			named++
		}
	}
	if shared != 40 || own != 40 || named != 40 {
		t.Errorf("%d shared, %d own, %d of them named; want 40 each", shared, own, named)
	}
}
