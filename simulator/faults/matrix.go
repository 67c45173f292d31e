package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"gnomon/edge/failpoint"
	"gnomon/simulator/edgeproc"
)

// fault is one thing that happens.
type fault struct {
	group  string // of faults alike, of which a short run takes one
	name   string
	points []failpoint.Point // that it goes through
	run    func(*trial)
}

// Names are those of the faults that Run does.
func Names(cfg Config) (names []string) {
	for _, f := range wanted(cfg) {
		names = append(names, f.name)
	}
	return names
}

// wanted are the faults of a run.
func wanted(cfg Config) []fault {
	all := matrix(rand.New(rand.NewPCG(cfg.Seed, 0)), cfg.Short)
	return slices.DeleteFunc(all, func(f fault) bool { return cfg.Only != nil && !cfg.Only.MatchString(f.name) })
}

// matrix is all that happens, in order; what is left to chance comes from random.
func matrix(random *rand.Rand, short bool) []fault {
	all := slices.Concat(stepFaults(), storeFaults(random, short), outboxFaults(), shimFaults(), versionFaults(), handOverFaults(random), endFaults(),
		processFaults(), limitFaults(), componentFaults(), serviceFaults(), bridgeFaults(), usersFaults(), diskFaults(), rotFaults(), clockFaults(), powerFaults(random))
	if !short {
		return all
	}
	var groups []string
	of := map[string][]fault{}
	for _, f := range all {
		if of[f.group] == nil {
			groups = append(groups, f.group)
		}
		of[f.group] = append(of[f.group], f)
	}
	var some []fault
	for _, g := range groups {
		some = append(some, of[g][random.IntN(len(of[g]))])
	}
	return some
}

// arm makes the environment in which points act.
func arm(points ...string) string { return failpoint.Env + "=" + strings.Join(points, ",") }

// sufferer brings up an application to suffer, with what it needs.
func (t *trial) sufferer(mode string) {
	if mode == "attach" {
		t.put("ground", t.application("container", idle))
		t.converge("ground")
	}
	t.put(t.name, t.suffering(mode, 0))
	t.converge(t.name)
}

// stepFaults: the agent is killed before and after each kind of step of the
// planner, or the step fails there.
func stepFaults() (all []fault) {
	begin := func(t *trial, kind string) {
		if kind == "reload" {
			t.put(t.name, t.reloading(0))
			t.converge(t.name)
		} else {
			t.sufferer("container")
		}
	}
	change := func(t *trial, kind string) {
		switch kind {
		case "remove":
			t.take(t.name)
		case "reload":
			t.put(t.name, t.reloading(1))
		default:
			t.put(t.name, t.suffering("container", 1))
		}
	}
	for _, kind := range failpoint.Steps {
		if kind == "retire" || kind == "withdraw" { // see handOverFaults
			continue
		}
		for _, when := range []failpoint.When{failpoint.Before, failpoint.After} {
			p := failpoint.OfStep(kind, when)
			all = append(all, fault{"step, agent killed", fmt.Sprintf("agent killed %s %s", when, kind), []failpoint.Point{p}, func(t *trial) {
				begin(t, kind)
				t.restart(arm(string(p) + "=kill"))
				change(t, kind)
				t.dies()
				if kind != "remove" {
					t.converge(t.name)
				}
			}}, fault{"step fails", fmt.Sprintf("%s fails, %s", kind, when), []failpoint.Point{p}, func(t *trial) {
				begin(t, kind)
				t.restart(arm(string(p) + "=error@1"))
				change(t, kind)
				if kind == "remove" { // of which nobody is left to speak
					return
				}
				if when == failpoint.Before || kind == "fetch" { // else what was to be done is done, and the next look shows it
					t.hear(t.name, kind+"-failed")
				}
				t.converge(t.name)
			}})
		}
	}
	return all
}

var statePoints = []failpoint.Point{failpoint.StateBegin, failpoint.StateWritten, failpoint.StateSynced, failpoint.StateRenamed, failpoint.StateDone}

// storeFaults: the agent is killed at each write of its store, at every stage of
// it, until none is left that the start and a change come to; and writes fail.
func storeFaults(random *rand.Rand, short bool) (all []fault) {
	from, to := 1, 100
	if short {
		from = 1 + random.IntN(3)
		to = from
	}
	for _, p := range statePoints {
		all = append(all, fault{"store, agent killed", fmt.Sprintf("agent killed at each write, %s", p), []failpoint.Point{p}, func(t *trial) {
			t.sufferer("container")
			killed := 0
			for n := from; n <= to; n++ {
				t.restart(arm(fmt.Sprintf("%s=kill@%d", p, n)))
				t.put(t.name, t.suffering("container", n))
				if !t.killedBy() {
					break
				}
				killed++
				t.restart()
				t.converge(t.name)
			}
			t.restart()
			t.say(fmt.Sprintf("killed %d times", killed))
			t.do("kill the agent", func() error {
				if killed < min(3, to-from+1) {
					return fmt.Errorf("it was killed %d times", killed)
				}
				return nil
			})
		}}, fault{"store fails", fmt.Sprintf("writes fail, %s", p), []failpoint.Point{p}, func(t *trial) {
			t.sufferer("container")
			var spec []string
			for n := 2; n < 5; n++ { // the first is the boot epoch's
				spec = append(spec, fmt.Sprintf("%s=error@%d", p, n))
			}
			t.restart(arm(spec...))
			t.put(t.name, t.suffering("container", 1))
			t.converge(t.name)
		}})
	}
	return all
}

// outboxFaults: between the report, the disk and the cloud.
func outboxFaults() (all []fault) {
	for _, p := range []failpoint.Point{failpoint.OutboxBegin, failpoint.OutboxWritten, failpoint.OutboxAnswer, failpoint.OutboxAcked} {
		all = append(all, fault{"outbox, agent killed", fmt.Sprintf("agent killed at %s", p), []failpoint.Point{p}, func(t *trial) {
			t.sufferer("container")
			t.restart(arm(string(p) + "=kill"))
			t.put(t.name, t.suffering("container", 1))
			t.dies()
			t.converge(t.name)
		}}, fault{"outbox fails", fmt.Sprintf("%s fails", p), []failpoint.Point{p}, func(t *trial) {
			t.sufferer("container")
			t.restart(arm(string(p)+"=error@1", string(p)+"=error@2"))
			t.put(t.name, t.suffering("container", 1))
			t.converge(t.name)
		}})
	}
	return all
}

// startPoints are the phases of a shim's start in each mode.
var startPoints = map[string][]failpoint.Point{
	"container": {failpoint.ShimBegin, failpoint.ShimSettled, failpoint.ShimMounted, failpoint.ShimCreated, failpoint.ShimWaiting, failpoint.ShimRunning, failpoint.ShimRecorded},
	"host":      {failpoint.ShimBegin, failpoint.ShimSettled, failpoint.ShimCreated, failpoint.ShimRunning, failpoint.ShimRecorded},
	"attach":    {failpoint.ShimBegin, failpoint.ShimSettled, failpoint.ShimPlanted, failpoint.ShimRunning, failpoint.ShimRecorded},
}

// shimFaults: a shim is killed, fails, or is slow at each phase of its start.
func shimFaults() (all []fault) {
	for _, mode := range modes {
		for _, p := range startPoints[mode] {
			broken := func(action string) func(*trial) {
				return func(t *trial) {
					t.sufferer(mode)
					t.restart(arm(string(p) + "=" + action))
					t.put(t.name, t.suffering(mode, 1))
					t.hear(t.name, "start-failed", "lost")
					t.restart()
					t.converge(t.name)
				}
			}
			all = append(all, fault{"shim killed, " + mode, fmt.Sprintf("shim killed at %s, %s", p, mode), []failpoint.Point{p}, broken("kill")})
			if mode == "container" {
				all = append(all, fault{"shim fails", fmt.Sprintf("%s fails, %s", p, mode), []failpoint.Point{p}, broken("error")})
			}
		}
		all = append(all, fault{"agent killed, shim starting", "agent killed while a slow shim starts, " + mode, []failpoint.Point{failpoint.ShimRunning}, func(t *trial) {
			t.sufferer(mode)
			before := t.pid(t.name)
			t.restart(arm(string(failpoint.ShimRunning) + "=300ms"))
			t.put(t.name, t.suffering(mode, 1))
			t.until("the former instance to end", func() (bool, string) { return edgeproc.Ticks(before) == "", "" })
			t.restart()
			t.converge(t.name)
		}})
	}
	return all
}

// versionFaults: the agent is killed, or an error comes, while a host application's
// next version is put beside the one that runs.
func versionFaults() (all []fault) {
	for _, p := range []failpoint.Point{failpoint.VersionStaged, failpoint.VersionKept, failpoint.VersionSwitched} {
		begin := func(t *trial) (before int) {
			t.put(t.name, t.packaged(0))
			t.converge(t.name)
			return t.pid(t.name)
		}
		all = append(all, fault{"version", fmt.Sprintf("agent killed at %s", p), []failpoint.Point{p}, func(t *trial) {
			before := begin(t)
			t.restart(arm(string(p) + "=kill"))
			t.put(t.name, t.packaged(1))
			t.dies()
			t.replaced(t.name, before)
		}}, fault{"version", fmt.Sprintf("%s fails", p), []failpoint.Point{p}, func(t *trial) {
			before := begin(t)
			t.restart(arm(string(p) + "=error@1"))
			t.put(t.name, t.packaged(1))
			t.hear(t.name, "start-failed")
			t.replaced(t.name, before)
		}})
	}
	return all
}

// endFaults: a shim is killed while it deals with the end of its workload.
func endFaults() (all []fault) {
	for _, p := range []failpoint.Point{failpoint.ShimHolds, failpoint.ShimEnded, failpoint.ShimNoted} {
		for _, mode := range modes {
			all = append(all, fault{"shim killed at the end", fmt.Sprintf("shim killed at %s, %s stopped", p, mode), []failpoint.Point{p}, func(t *trial) {
				t.restart(arm(string(p) + "=kill"))
				t.sufferer(mode)
				t.put(t.name, t.suffering(mode, 1))
				t.converge(t.name)
				t.restart()
			}}, fault{"shim killed at the end", fmt.Sprintf("shim killed at %s, %s ended by itself", p, mode), []failpoint.Point{p}, func(t *trial) {
				t.restart(arm(string(p) + "=kill"))
				t.sufferer(mode)
				t.killed(t.pid(t.name))
				t.restart()
			}})
		}
	}
	return all
}
