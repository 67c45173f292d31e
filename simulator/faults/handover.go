package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"gnomon/edge/failpoint"
	"gnomon/simulator/edgeproc"
)

// What applications do that take over from themselves.
const (
	serves = "exec sleep 100000000"
	breaks = "exit 3"
	writes = "echo x > $GNOMON_DATA/x; exec sleep 100000000"
)

// taker brings up an application of which another instance can take over.
func (t *trial) taker(mode, does string) (before int) {
	if mode == "attach" {
		t.put("ground", t.application("container", idle))
		t.converge("ground")
	}
	t.put(t.name, t.taking(mode, "auto", 0, does))
	t.converge(t.name)
	return t.pid(t.name)
}

// serving checks that a process is what serves, and waits for its node to say so.
func (t *trial) serving(pid int) {
	t.until("the former instance to be all there is", func() (bool, string) {
		a, r, err := t.get(t.name)
		if err != nil {
			return false, err.Error()
		}
		return r.PID == pid && r.Beside == nil && r.Phase == "running", string(a.Reported)
	})
	t.do("look at what runs", func() error {
		if edgeproc.Ticks(pid) == "" {
			return errors.New("what ran was ended")
		}
		return nil
	})
}

// handOverFaults: the agent or a shim is killed, or something fails, while one
// instance takes over from another.
func handOverFaults(random *rand.Rand) []fault {
	return slices.Concat(takeOverFaults(), takeBackFaults(), besideFaults(), cutFaults(random))
}

// takeOverFaults: at each step on the way to the new instance.
func takeOverFaults() (all []fault) {
	for _, mode := range modes {
		for _, kind := range []string{"start", "retire"} {
			for _, when := range []failpoint.When{failpoint.Before, failpoint.After} {
				p := failpoint.OfStep(kind, when)
				all = append(all, fault{"hand-over, agent killed", fmt.Sprintf("agent killed %s %s, taking over, %s", when, kind, mode), []failpoint.Point{p}, func(t *trial) {
					before := t.taker(mode, serves)
					t.restart(arm(string(p) + "=kill"))
					t.put(t.name, t.taking(mode, "start-first", 1, serves))
					t.dies()
					t.replaced(t.name, before)
					t.until("the former instance to be gone", func() (bool, string) { return edgeproc.Ticks(before) == "", "" })
				}})
			}
		}
	}
	for _, when := range []failpoint.When{failpoint.Before, failpoint.After} {
		p := failpoint.OfStep("retire", when)
		all = append(all, fault{"hand-over, agent killed", fmt.Sprintf("retire fails, %s", when), []failpoint.Point{p}, func(t *trial) {
			before := t.taker("container", serves)
			t.restart(arm(string(p) + "=error@1"))
			t.put(t.name, t.taking("container", "start-first", 1, serves))
			t.replaced(t.name, before)
		}})
	}
	return all
}

// takeBackFaults: the new instance is no good, and goes again.
func takeBackFaults() (all []fault) {
	for _, mode := range modes {
		all = append(all, fault{"hand-over, new version broken", "new version ends beside the one that runs, " + mode, nil, func(t *trial) {
			before := t.taker(mode, serves)
			t.put(t.name, t.taking(mode, "start-first", 1, breaks))
			t.hear(t.name, "rolled-back")
			t.serving(before)
			t.put(t.name, t.taking(mode, "start-first", 2, serves))
			t.replaced(t.name, before)
		}})
	}
	for _, when := range []failpoint.When{failpoint.Before, failpoint.After} {
		p := failpoint.OfStep("withdraw", when)
		for _, action := range []string{"kill", "error@1"} {
			what := map[string]string{"kill": "agent killed", "error@1": "withdraw fails"}[action]
			all = append(all, fault{"hand-over, taken back", fmt.Sprintf("%s, %s withdraw", what, when), []failpoint.Point{p}, func(t *trial) {
				before := t.taker("container", serves)
				t.restart(arm(string(p) + "=" + action))
				t.put(t.name, t.taking("container", "start-first", 1, breaks))
				if action == "kill" {
					t.dies()
				}
				t.hear(t.name, "rolled-back")
				t.serving(before)
			}})
		}
	}
	return all
}

// besideFaults: what one has the other can't have, or a process dies.
func besideFaults() (all []fault) {
	for _, mode := range modes {
		for _, p := range startPoints[mode] {
			if p != failpoint.ShimBegin && p != failpoint.ShimRunning && p != failpoint.ShimRecorded {
				continue
			}
			all = append(all, fault{"hand-over, shim killed", fmt.Sprintf("shim killed at %s beside the one that runs, %s", p, mode), []failpoint.Point{p}, func(t *trial) {
				before := t.taker(mode, serves)
				t.restart(arm(string(p) + "=kill"))
				t.put(t.name, t.taking(mode, "start-first", 1, serves))
				t.hear(t.name, "start-failed", "lost")
				t.serving(before)
				t.restart()
				t.replaced(t.name, before)
			}})
		}
		all = append(all, fault{"hand-over, former ends", "the former instance is killed while there are two, " + mode, nil, func(t *trial) {
			before := t.taker(mode, serves)
			soon := t.taking(mode, "start-first", 1, serves)
			t.put(t.name, strings.Replace(soon, `"300ms"`, `"4m"`, 1))
			t.hear(t.name, "handing-over")
			t.do("kill it", func() error { return syscall.Kill(before, syscall.SIGKILL) })
			t.put(t.name, soon) // which doesn't have to prove itself for so long
			t.replaced(t.name, before)
		}})
	}
	return append(all, fault{"hand-over, clash", "two would write the same data", nil, func(t *trial) {
		before := t.taker("container", writes)
		t.put(t.name, t.taking("container", "start-first", 1, writes))
		t.hear(t.name, "cannot-run-beside")
		t.serving(before)
		t.put(t.name, t.taking("container", "auto", 1, writes))
		t.replaced(t.name, before)
	}})
}

// cutFaults: everything is gone at once, at some moment of it.
func cutFaults(random *rand.Rand) (all []fault) {
	for _, mode := range modes {
		after := time.Duration(random.IntN(600)) * time.Millisecond
		all = append(all, fault{"hand-over, power cut", fmt.Sprintf("power cut %s into a hand-over, %s", after, mode), nil, func(t *trial) {
			t.taker(mode, serves)
			t.put(t.name, t.taking(mode, "start-first", 1, serves))
			time.Sleep(after) // the moment is what is random
			t.do("power cut", t.node.PowerCut)
			t.restart()
			t.converge(t.name)
			t.anew()
		}})
	}
	return all
}
