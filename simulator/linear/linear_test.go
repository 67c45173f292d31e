package linear

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"gnomon/cloud/store/redis/redistest"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/cloudtest"
)

func TestMain(m *testing.M) { os.Exit(cloudtest.Main(m)) }

// SEEDS says how many runs there are, SEED where they begin.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Whatever is killed and cut, what clients see of a shadow is one sequence of
// operations.
func TestLinearizable(t *testing.T) {
	judge(t, 40, func(t *testing.T, _ uint64) []cloudproc.Config { return []cloudproc.Config{cloudtest.Config(t)} })
}

// And so it is when every client speaks to another replica.
func TestLinearizable_Replicas(t *testing.T) {
	redis := redistest.Start(t)
	judge(t, 15, func(t *testing.T, seed uint64) (replicas []cloudproc.Config) {
		for range 3 {
			cfg := cloudtest.Config(t)
			cfg.Args = []string{"--store", redis.URL(fmt.Sprint(seed))}
			replicas = append(replicas, cfg)
		}
		return replicas
	})
}

func judge(t *testing.T, runs uint64, clouds func(*testing.T, uint64) []cloudproc.Config) {
	t.Helper()
	first := number(t, "SEED", uint64(time.Now().UnixNano()))
	for i := range number(t, "SEEDS", runs) {
		seed := first + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r, err := Run(t.Context(), Config{Clouds: clouds(t, seed), Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict == porcupine.Unknown {
				t.Logf("undecided: the checker ran out of time on %d operations, %d without an answer", len(r.Operations), r.Unknown)
				return
			}
			if r.Verdict != porcupine.Ok || len(r.Operations) < 100 {
				t.Errorf("%s: %d operations, %d without an answer; again with SEED=%d SEEDS=1", r.Verdict, len(r.Operations), r.Unknown, seed)
			}
		})
	}
}

func ptr(n uint64) *uint64 { return &n }

// The judge must see what it is there for.
func TestModel_SeesThrough(t *testing.T) {
	write := func(value int) Request { return Request{Kind: Write, Value: value} }
	done := func(version uint64) Answer { return Answer{Outcome: Done, Version: version} }
	type op struct {
		in        Request
		out       Answer
		call, ret int64
	}
	for name, test := range map[string]struct {
		history []op
		want    porcupine.CheckResult
	}{
		"in order":                        {[]op{{write(1), done(1), 0, 1}, {write(2), done(2), 2, 3}, {Request{Kind: Read}, Answer{Done, 2, 2}, 4, 5}}, porcupine.Ok},
		"a version twice":                 {[]op{{write(1), done(1), 0, 1}, {write(2), done(1), 2, 3}}, porcupine.Illegal},
		"a version left out":              {[]op{{write(1), done(1), 0, 1}, {write(2), done(3), 2, 3}}, porcupine.Illegal},
		"an update lost":                  {[]op{{write(1), done(1), 0, 1}, {Request{Kind: Read}, Answer{Outcome: Absent}, 2, 3}}, porcupine.Illegal},
		"an old value read":               {[]op{{write(1), done(1), 0, 1}, {write(2), done(2), 2, 3}, {Request{Kind: Read}, Answer{Done, 1, 1}, 4, 5}}, porcupine.Illegal},
		"a wrong conflict":                {[]op{{write(1), done(1), 0, 1}, {Request{Kind: Write, Value: 2, Expect: ptr(1)}, Answer{Outcome: Conflict}, 2, 3}}, porcupine.Illegal},
		"a conflict passed over":          {[]op{{write(1), done(1), 0, 1}, {Request{Kind: Write, Value: 2, Expect: ptr(7)}, done(2), 2, 3}}, porcupine.Illegal},
		"no answer, happened":             {[]op{{write(1), Answer{Outcome: Unknown}, 0, math.MaxInt64}, {write(2), done(2), 2, 3}}, porcupine.Ok},
		"no answer, never was":            {[]op{{write(1), Answer{Outcome: Unknown}, 0, math.MaxInt64}, {write(2), done(1), 2, 3}}, porcupine.Ok},
		"a version back after a deletion": {[]op{{write(1), done(1), 0, 1}, {Request{Kind: Delete}, done(1), 2, 3}, {write(2), done(1), 4, 5}}, porcupine.Illegal},
		"on after a deletion":             {[]op{{write(1), done(1), 0, 1}, {Request{Kind: Delete}, done(1), 2, 3}, {write(2), done(3), 4, 5}}, porcupine.Ok},
	} {
		var history []porcupine.Operation
		for i, o := range test.history {
			history = append(history, porcupine.Operation{ClientId: i, Input: o.in, Output: o.out, Call: o.call, Return: o.ret})
		}
		if got := porcupine.CheckOperationsTimeout(Model, history, time.Minute); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
