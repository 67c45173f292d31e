package launch

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/upgrade/slot"
)

// The test program is launcher and agent, too, as processes of their own, so that
// they can be killed at any change they make to the disk.
func TestMain(m *testing.M) {
	switch os.Getenv("TEST_ROLE") {
	case "launcher":
		os.Exit(launcherMain())
	case "agent":
		os.Exit(agentMain())
	}
	goleak.VerifyTestMain(m)
}

// dying is a directory whose user is killed before the nth change, counted over
// the life of one process; 0 = never.
func dying(data, variable string) *slot.Dir {
	d := slot.At(data)
	n, _ := strconv.Atoi(os.Getenv(variable))
	// One death is enough: the next process lives.
	once := filepath.Join(data, "died")
	d.Before = func(op string) {
		if n--; n != 0 {
			return
		}
		if f, err := os.OpenFile(once, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprint(f, variable, " before ", op)
			f.Close()
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			_ = syscall.Pause()
		}
	}
	return d
}

func launcherMain() int {
	data := os.Getenv("TEST_DATA")
	// As in production, an agent ends with its launcher; here, a launcher ends with
	// the test.
	l := New(Config{
		Dir: dying(data, "TEST_DIE_LAUNCHER"), Data: data, Factory: filepath.Join(data, "factory"), Args: []string{"run"},
		Trial: 2 * time.Second, Settle: time.Millisecond, Early: time.Minute, Pause: time.Millisecond, Longer: 5 * time.Millisecond, Grace: 5 * time.Second,
	})
	if err := l.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// agentMain is an agent of the version that its program's directory is named
// after. What it is to do is in a file: lines of VERSION ACTION.
func agentMain() int {
	l, err := slot.Launched()
	if err != nil || l == nil {
		fmt.Fprintln(os.Stderr, "not launched:", err)
		return 1
	}
	data := l.Data
	version, _, _ := strings.Cut(filepath.Base(l.Target), "-")
	script, _ := os.ReadFile(filepath.Join(data, "script"))
	note(data, version)
	for line := range strings.Lines(string(script)) {
		of, action, _ := strings.Cut(strings.TrimSpace(line), " ")
		if of != version {
			continue
		}
		d := dying(data, "TEST_DIE_AGENT")
		switch what, arg, _ := strings.Cut(action, " "); what {
		case "panic":
			_ = os.WriteFile(d.CrashFile(), []byte("panic: "+arg+"\n\ngoroutine 1 [running]:"), 0o600)
			return 2
		case "exit":
			n, _ := strconv.Atoi(arg)
			return n
		case "hang":
			_ = d.SetHealth(slot.Health{Target: l.Target, Waiting: []string{arg}, Cloud: strings.Contains(arg, "cloud")})
		case "upgrade": // unless it has failed before
			if strings.HasPrefix(d.Verdict().Name, arg+"-") {
				continue
			}
			if err := upgradeTo(d, data, arg); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		case "keep":
			if l.Trial > 0 && d.Target(slot.New) == l.Target {
				if err := d.Commit(l.Factory); err != nil {
					return 1
				}
			}
			note(data, version+" kept")
		}
	}
	_ = syscall.Pause() // until it is killed
	return 0
}

func upgradeTo(d *slot.Dir, data, version string) error {
	src := slot.Source{Agent: filepath.Join(data, "inbox", version, slot.Agent), Shim: filepath.Join(data, "inbox", version, slot.Shim)}
	hash, err := slot.HashOf(src.Agent, src.Shim)
	if err != nil {
		return err
	}
	src.Manifest = slot.Manifest{Version: version, Hash: hash}
	name, err := d.Install(src)
	if err == nil {
		err = d.SetIntent(slot.Intent{Name: name, Version: version, Hash: hash})
	}
	if err == nil {
		err = d.Stage(name)
	}
	return err
}

// note appends to what the agents of a test did.
func note(data, what string) {
	f, err := os.OpenFile(filepath.Join(data, "notes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintln(f, what)
		f.Close()
	}
}

// rig is a node's directory with agents that do what a script says.
type rig struct {
	t    *testing.T
	data string
	dir  *slot.Dir
}

func newRig(t *testing.T, script string) *rig {
	t.Helper()
	r := &rig{t: t, data: t.TempDir()}
	r.dir = slot.At(r.data)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.program(filepath.Join(r.data, "factory"), self)
	for _, v := range []string{"2", "3"} {
		r.program(filepath.Join(r.data, "inbox", v), self)
	}
	r.write("script", script)
	return r
}

// program writes a script that starts this test program as an agent.
func (r *rig) program(dir, self string) {
	r.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	text := fmt.Sprintf("#!/bin/sh\n# %s\nTEST_ROLE=agent exec %s\n", filepath.Base(dir), self)
	for _, p := range []string{slot.Agent, slot.Shim} {
		if err := os.WriteFile(filepath.Join(dir, p), []byte(text), 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.data, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) notes() string {
	b, _ := os.ReadFile(filepath.Join(r.data, "notes"))
	return string(b)
}

// died tells where a process was killed, "" if none was.
func (r *rig) died() string {
	b, _ := os.ReadFile(filepath.Join(r.data, "died"))
	return string(b)
}

// launch runs launchers, one after another if one is killed, until ok.
func (r *rig) launch(what string, env []string, ok func() bool) {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		cmd := exec.Command(self)
		// A program with the race detector ends a second late unless it is told not to.
		cmd.Env = append(os.Environ(), append(env, "TEST_ROLE=launcher", "TEST_DATA="+r.data, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))...)
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			r.t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(ended)
		}()
		tick := time.NewTicker(2 * time.Millisecond)
		for alive := true; alive; {
			select {
			case <-ended:
				alive = false
			case <-tick.C:
				done := ok()
				if done || time.Now().After(deadline) {
					_ = cmd.Process.Kill()
					<-ended
					tick.Stop()
					if !done {
						r.t.Fatalf("waited in vain for %s; died: %q; notes:\n%s", what, r.died(), r.notes())
					}
					return
				}
			}
		}
		tick.Stop()
	}
}

func (r *rig) current() string {
	v, _, _ := strings.Cut(filepath.Base(r.dir.Target(slot.Current)), "-")
	return v
}

// Every way in which a trial can end.
func TestTrials(t *testing.T) {
	for _, c := range []struct {
		name, script string
		verdict      string // code
		message      string
		retryable    bool
		current      string // "." is the factory's
	}{
		{"kept", "factory upgrade 2\n2 keep\n", "", "", false, "2"},
		{"panics", "factory upgrade 2\n2 panic no memory\n", slot.CodeCrashed, "3 bad starts, the last one: exit status 2: panic: no memory", false, "."},
		{"fails", "factory upgrade 2\n2 exit 1\n", slot.CodeCrashed, "exit status 1", false, "."},
		{"ends without a reason", "factory upgrade 2\n2 exit 0\n", slot.CodeCrashed, "exit status 0", false, "."},
		{"disk", "factory upgrade 2\n2 exit 74\n", slot.CodeIO, "ended 5 times for the disk's sake", true, "."},
		{"hangs", "factory upgrade 2\n2 hang its workloads\n", slot.CodeUnhealthy, "not healthy within 2s: its workloads", false, "."},
		{"no cloud", "factory upgrade 2\n2 hang no cloud\n", slot.CodeCloud, "no cloud", true, "."},
		{"twice", "factory upgrade 2\n2 keep\n2 upgrade 3\n3 exit 1\n", slot.CodeCrashed, "exit status 1", false, "2"},
		{"crashes once it is kept", "factory upgrade 2\n2 keep\n2 exit 1\n", slot.CodeCrashed, "exit status 1", false, "factory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.script)
			r.launch("the end of the trial", nil, func() bool {
				return r.current() == c.current && r.dir.Verdict().Code == c.verdict && r.dir.Target(slot.New) == "" &&
					(c.verdict != "" || strings.Contains(r.notes(), "2 kept")) && r.started(c)
			})
			if v := r.dir.Verdict(); !strings.Contains(v.Message, c.message) || v.Retryable != c.retryable {
				t.Errorf("verdict %+v", v)
			}
		})
	}
}

// started tells whether the version that shall be current was started last.
func (r *rig) started(c struct {
	name, script string
	verdict      string
	message      string
	retryable    bool
	current      string
}) bool {
	all := strings.Split(strings.TrimSpace(r.notes()), "\n")
	want := c.current
	if want == "." {
		want = "factory"
	}
	return strings.HasPrefix(all[len(all)-1], want)
}

// Agent and launcher are killed before every single change that an upgrade makes
// to the disk, a good one and a bad one. There is always an agent that starts,
// and in the end it is the right one.
func TestKilledAtEveryStep(t *testing.T) {
	for _, c := range []struct{ name, script, current string }{
		{"kept", "factory upgrade 2\n2 keep\n", "2"},
		{"given up", "factory upgrade 2\n2 keep\n2 upgrade 3\n3 exit 1\n", "2"},
		{"returned", "factory upgrade 2\n2 keep\n2 upgrade 3\n3 keep\n3 exit 1\n", "2"},
	} {
		for _, victim := range []string{"TEST_DIE_AGENT", "TEST_DIE_LAUNCHER"} {
			t.Run(c.name+" "+victim, func(t *testing.T) {
				t.Parallel()
				at := map[string]bool{}
				for n := 1; ; n++ {
					r := newRig(t, c.script)
					r.launch("version "+c.current, []string{victim + "=" + strconv.Itoa(n)}, func() bool {
						all := strings.Split(strings.TrimSpace(r.notes()), "\n")
						last := all[len(all)-1]
						bad := strings.Contains(c.script, "exit")
						return r.current() == c.current && strings.HasPrefix(last, c.current) && r.dir.Target(slot.New) == "" &&
							(!bad || r.dir.Verdict().Name != "" && len(all) > 3)
					})
					if r.died() == "" {
						break
					}
					at[r.died()] = true
				}
				if len(at) < 3 {
					t.Errorf("killed only at %v", at)
				}
			})
		}
	}
}

// What a launcher tells is what agents of any version read.
func TestTold(t *testing.T) {
	b, err := json.Marshal(slot.Launch{Protocol: 1, Data: "/d", Factory: "/f", Target: "/t", Trial: 3, Settle: 10 * time.Second, Alone: 5 * time.Minute})
	if want := `{"protocol":1,"data":"/d","factory":"/f","target":"/t","trial":3,"settle":10000000000,"alone":300000000000}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}

// A node that goes down with every start doesn't try for ever.
func TestInterrupted(t *testing.T) {
	l := New(Config{Dir: slot.At(t.TempDir())})
	dir := l.cfg.Dir.Version("2-x")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, slot.Agent), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.cfg.Dir.Stage("2-x"); err != nil {
		t.Fatal(err)
	}
	for i := range maxStarts + 1 {
		again := New(l.cfg)
		c, err := again.choose()
		if err != nil {
			t.Fatal(err)
		}
		if tried := c.dir == dir; tried != (i < maxStarts) {
			t.Fatalf("start %d: on trial %v", i+1, tried)
		}
		c.starts.Starts++
		if err := l.cfg.Dir.SetStarts(c.starts); err != nil {
			t.Fatal(err)
		}
	}
	if v := l.cfg.Dir.Verdict(); v.Code != slot.CodeInterrupted || !v.Retryable {
		t.Errorf("%+v", v)
	}
}

// What can't be started at all is given up at once, down to the factory's.
func TestUnusable(t *testing.T) {
	l := New(Config{Dir: slot.At(t.TempDir()), Factory: "/factory"})
	if err := os.MkdirAll(l.cfg.Dir.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"2-x", "3-x"} {
		if err := l.cfg.Dir.Stage(name); err != nil {
			t.Fatal(err)
		}
		if name == "2-x" { // is current, and then its directory is gone
			if err := l.cfg.Dir.Commit("/factory"); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := l.choose()
	if err != nil || c.dir != "/factory" {
		t.Fatalf("%+v, %v", c, err)
	}
	if v := l.cfg.Dir.Verdict(); v.Name != "2-x" || v.Code != slot.CodeUnusable {
		t.Errorf("%+v", v)
	}
	if l.cfg.Dir.Target(slot.New) != "" || l.cfg.Dir.Target(slot.Current) != "" {
		t.Error("it would be tried again")
	}
}

// What was counted of a trial says nothing of the next one of the same version, which
// the agent begins when the first failed for another's fault.
func TestTriedAgain(t *testing.T) {
	for name, spent := range map[string]slot.Starts{
		slot.CodeIO:          {IO: maxIO},
		slot.CodeInterrupted: {Starts: maxStarts},
		slot.CodeCrashed:     {Crashes: maxCrashes},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(Config{Dir: slot.At(t.TempDir()), Factory: "/factory"})
			dir := l.cfg.Dir.Version("2-x")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, slot.Agent), nil, 0o755); err != nil {
				t.Fatal(err)
			}
			spent.Target, spent.Trial = dir, true
			if err := l.cfg.Dir.SetStarts(spent); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"/factory", dir} {
				if err := l.cfg.Dir.Stage("2-x"); err != nil {
					t.Fatal(err)
				}
				c, err := l.choose()
				if err != nil || c.dir != want || c.starts.Starts+c.starts.IO+c.starts.Crashes != 0 {
					t.Fatalf("%+v %v, want %s", c, err, want)
				}
				if v := l.cfg.Dir.Verdict(); v.Code != name {
					t.Errorf("%+v", v)
				}
			}
		})
	}
}
