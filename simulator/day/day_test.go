package day

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seed is SEED, or a new one.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("SEED")
	if text == "" {
		return uint64(time.Now().UnixNano())
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	return n
}

// pass has a day pass, and judges it.
func pass(t *testing.T, cfg Config) *Report {
	t.Helper()
	cloud, err := OpenCloud(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	}()
	var d *Day
	synctest.Test(t, func(t *testing.T) {
		var err error
		if d, err = Run(t.Context(), cfg, cloud); err != nil {
			t.Fatal(err)
		}
	})
	r, err := d.Judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A short day, and the whole one with DAY=whole, which REPORT writes to a file.
func TestDay(t *testing.T) {
	cfg := Config{Seed: seed(t), Meters: 60, Changed: 20, Beside: 10, Slots: 24, Kills: 5, Cut: 2 * time.Hour}
	if os.Getenv("DAY") == "whole" {
		cfg = Config{Seed: cfg.Seed}
	}
	t.Logf("seed %d", cfg.Seed)
	r := pass(t, cfg)
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", text.String())
	for _, a := range r.Areas {
		p := a.Points
		if p.Wrong > 0 || p.Strange > 0 || p.Lost > 0 {
			t.Errorf("area %s: %d wrong, %d rows of no slot, %d slots lost: %v", a.Name, p.Wrong, p.Strange, p.Lost, p.Examples)
		}
		limit := 0.1
		if a.Points.Wanted/a.Points.Slots < 100*len(itemNames) {
			limit = 0.5 // one repetition is much of a short cycle
		}
		if off := a.Pace.off(a.Pace.Lossy); off < -limit || off > limit {
			t.Errorf("area %s: cycles are said to take %v and take %v", a.Name, a.Pace.Lossy, a.Pace.Median)
		}
		if p.Completeness() < 0.999 {
			t.Errorf("area %s: %d of %d points: %v", a.Name, p.Good, p.Wanted, p.Missing)
		}
	}
	if r.Broken > 0 || r.Told == 0 {
		t.Errorf("%d points told, and %d that were kept got lost", r.Told, r.Broken)
	}
	if r.PerPoint() > 6 {
		t.Errorf("%.2f bytes for each point", r.PerPoint())
	}
	judgeSwitch(t, r)
	quiet := cfg
	quiet.Calm = true
	if was, is := pass(t, quiet).Areas[2], r.Areas[2]; was.Said != is.Said {
		t.Errorf("area %s isn't what it is when nobody changes another: on its line %s instead of %s", is.Name, is.Said, was.Said)
	}
	if file := os.Getenv("REPORT"); file != "" && !t.Failed() {
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

var number = regexp.MustCompile(`\d`)

// judgeSwitch: a policy that is changed is in effect within a period, and wrong
// ones are refused with numbers.
func judgeSwitch(t *testing.T, r *Report) {
	t.Helper()
	if s := r.Switched; s == nil || s.First.IsZero() || s.First.Sub(s.Applied) > shorter {
		t.Errorf("the changed policy: %+v", s)
	}
	for _, f := range r.Refusals {
		if !number.MatchString(f.Why) {
			t.Errorf("%s: %q has no number", f.What, f.Why)
		}
	}
}
