package schema

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseApplication decodes, completes and validates the desired section of an
// application. The error is an *Error.
func ParseApplication(desired []byte) (*Application, error) {
	a := new(Application)
	if err := decode(KindApplication, desired, a); err != nil {
		return nil, err
	}
	c := &check{kind: KindApplication}
	a.defaults()
	a.validate(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Application) defaults() {
	setDefault(&a.Mode, ModeContainer)
	setDefault(&a.State, StateRunning)
	switch {
	case a.Update.Rollback:
		setDefault(&a.Update.Healthy, Duration(30*time.Second))
	case a.Update.StartsFirst():
		setDefault(&a.Update.Healthy, Duration(10*time.Second))
	}
	r := &a.Run
	setDefault(&r.StopGrace, Duration(10*time.Second))
	setDefault(&r.Restart.Policy, RestartAlways)
	setDefault(&r.Restart.Backoff, Duration(time.Second))
	setDefault(&r.Restart.BackoffMax, max(Duration(time.Minute), r.Restart.Backoff))
	setDefault(&r.Restart.BackoffReset, Duration(10*time.Second))
	for i := range r.Files {
		if r.Files[i].From == "" {
			setDefault(&r.Files[i].Mode, "0644")
		}
	}
	for i := range r.Ports {
		setDefault(&r.Ports[i].Container, r.Ports[i].Host)
		setDefault(&r.Ports[i].Protocol, "tcp")
	}
	for i := range r.Devices {
		setDefault(&r.Devices[i].Access, "rw")
	}
	for i := range r.Volumes {
		if setDefault(&r.Volumes[i].Kind, VolumeLasting); r.Volumes[i].Kind == VolumeTemporary {
			setDefault(&r.Volumes[i].Size, 16<<20)
		}
	}
	if h := r.Health; h != nil {
		setDefault(&h.StartPeriod, Duration(10*time.Second))
		setDefault(&h.Interval, Duration(10*time.Second))
		setDefault(&h.Timeout, Duration(2*time.Second))
		setDefault(&h.Failures, 3)
		setDefault(&h.Successes, 1)
		if h.HTTP != nil {
			setDefault(&h.HTTP.Path, "/")
		}
	}
}

// setDefault gives *v the value def unless it has one.
func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (a *Application) validate(c *check) {
	c.need(a.Mode == ModeContainer || a.Mode == ModeAttach || a.Mode == ModeHost,
		"mode", "must be container, attach or host", a.Mode)
	c.need(a.State == StateRunning || a.State == StateStopped, "state", "must be running or stopped", a.State)
	a.validateComponent(c)
	if a.Mode == ModeAttach {
		c.need(ValidName(a.AttachTo), "attachTo", "mode attach needs the name of the application to join: "+NameRule, a.AttachTo)
	} else {
		c.need(a.AttachTo == "", "attachTo", "is only for mode attach", a.AttachTo)
	}
	if len(a.DependsOn) > MaxDependsOn {
		c.add("dependsOn", "too many entries", len(a.DependsOn), MaxDependsOn)
	}
	for i, d := range a.DependsOn {
		c.need(ValidName(d), index("dependsOn", i), "must be the name of an application: "+NameRule, d)
	}
	c.need(a.Run.User != UserOwn || a.Mode == ModeHost, "run.user", "own is only for mode host: a container keeps its users to itself", a.Run.User)
	within(c, "update.healthy", a.Update.Healthy, 0, Duration(24*time.Hour))
	c.need(slices.Contains([]Strategy{"", StopFirst, StartFirst, StartAuto}, a.Update.Strategy),
		"update.strategy", "must be stop-first, start-first or auto", a.Update.Strategy)
	a.validateMatrix(c)
	a.validateNetwork(c)
	a.Run.validate(c, a.Component != "")
}

var component = lazily(`^([a-z0-9][a-z0-9._/-]{0,127}@[A-Za-z0-9][A-Za-z0-9._+-]{0,63}|file:///.+)$`)

// maxComponent bounds a component in bytes; in an expression that would be costly.
const maxComponent = 1008

func (a *Application) validateComponent(c *check) {
	switch {
	case a.Component != "":
		ok := len(a.Component) <= maxComponent && component.MatchString(a.Component) && !strings.Contains(a.Component, "..")
		c.need(ok, "component", "must be name@version or file:///path", a.Component)
	case a.Mode == ModeContainer:
		c.add("component", "mode container needs a component: it holds the root file system", nil, nil)
	case len(a.Run.Command) == 0:
		c.add("run.command", "without a component the command must be given", nil, nil)
	}
}

// validateMatrix refuses the options that the mode doesn't have, by name.
func (a *Application) validateMatrix(c *check) {
	set := map[Option]any{}
	if n := len(a.Run.Ports); n > 0 {
		set[OptionPorts] = n
	}
	if a.Run.Hostname != "" {
		set[OptionHostname] = a.Run.Hostname
	}
	if a.Run.Privileged {
		set[OptionPrivileged] = true
	}
	if n := len(a.Run.Serial); n > 0 {
		set[OptionSerial] = n
	}
	a.Run.ofContainer(set)
	for _, r := range Matrix {
		value, isSet := set[r.Option]
		if s, known := r.Support[a.Mode]; isSet && known && !s.Allowed() {
			c.add(r.Path, fmt.Sprintf("is %s in mode %s: %s", s, a.Mode, r.Reason), value, nil)
		}
	}
}

func (r *Run) validate(c *check, hasComponent bool) {
	if len(r.Env) > MaxEnv {
		c.add("run.env", "too many variables", len(r.Env), MaxEnv)
	}
	for k, v := range r.Env {
		c.need(k != "" && !strings.ContainsAny(k, "=\x00"), "run.env."+k, "a name is not empty and has no = or NUL", k)
		c.need(!strings.Contains(v, "\x00"), "run.env."+k, "a value has no NUL", nil)
	}
	for i, s := range append(append([]string{}, r.Command...), r.Args...) {
		c.need(!strings.Contains(s, "\x00"), index("run.command+args", i), "an argument has no NUL", nil)
	}
	c.need(r.Hostname == "" || hostname.MatchString(r.Hostname), "run.hostname", "must be a host name of 1 to 63 of a-z, A-Z, 0-9 and -", r.Hostname)
	c.need(r.Dir == "" || path.IsAbs(r.Dir), "run.dir", "must be absolute", r.Dir)
	for i, s := range r.Serial {
		c.need(strings.HasPrefix(s, "/dev/") && path.Clean(s) == s, index("run.serial", i), "must be a path below /dev", s)
	}
	within(c, "run.stopGrace", r.StopGrace, 0, Duration(10*time.Minute))
	r.validateFiles(c, hasComponent)
	r.validatePorts(c)
	r.validateContainer(c)
	r.Resources.validate(c)
	r.Restart.validate(c)
	if r.Health != nil {
		r.Health.validate(c)
	}
}

var hostname = lazily(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)

func (r *Run) validatePorts(c *check) {
	if len(r.Ports) > MaxPorts {
		c.add("run.ports", "too many ports", len(r.Ports), MaxPorts)
	}
	seen := map[string]bool{}
	for i, p := range r.Ports {
		at := index("run.ports", i)
		within(c, at+".host", p.Host, 1, 65535)
		within(c, at+".container", p.Container, 1, 65535)
		c.need(p.Protocol == "tcp" || p.Protocol == "udp", at+".protocol", "must be tcp or udp", p.Protocol)
		key := p.Protocol + strconv.Itoa(p.Host)
		c.need(!seen[key], at+".host", "is given twice", p.Host)
		seen[key] = true
	}
}

func (r *Resources) validate(c *check) {
	if r.CPU != 0 && r.CPU < 10 {
		c.add("run.resources.cpu", "must be at least 10m", r.CPU, "10m")
	}
	if r.Memory != 0 && r.Memory < MinMemory {
		c.add("run.resources.memory", "is too little to start in", r.Memory, MinMemory)
	}
	if r.Disk != 0 && r.Disk < MinDisk {
		c.add("run.resources.disk", "is too little", r.Disk, MinDisk)
	}
	if r.Pids < 0 {
		c.add("run.resources.pids", "must not be negative", r.Pids, 0)
	}
	if r.IO == nil {
		return
	}
	for _, b := range []struct {
		path   string
		v, min int64
	}{
		{"read", int64(r.IO.Read), int64(MinIO)}, {"write", int64(r.IO.Write), int64(MinIO)},
		{"readOps", r.IO.ReadOps, 10}, {"writeOps", r.IO.WriteOps, 10},
	} {
		if b.v != 0 && b.v < b.min {
			c.add("run.resources.io."+b.path, "is too little to start with", b.v, b.min)
		}
	}
}

func (r *Restart) validate(c *check) {
	c.need(r.Policy == RestartAlways || r.Policy == RestartOnFailure || r.Policy == RestartNever,
		"run.restart.policy", "must be always, on-failure or never", r.Policy)
	within(c, "run.restart.maxRetries", r.MaxRetries, 0, 1_000_000)
	within(c, "run.restart.backoff", r.Backoff, Duration(100*time.Millisecond), Duration(time.Hour))
	within(c, "run.restart.backoffMax", r.BackoffMax, r.Backoff, Duration(24*time.Hour))
	within(c, "run.restart.backoffReset", r.BackoffReset, Duration(time.Second), Duration(24*time.Hour))
}

func (h *Health) validate(c *check) {
	kinds := 0
	for _, is := range []bool{h.HTTP != nil, h.TCP != nil, h.Exec != nil} {
		if is {
			kinds++
		}
	}
	c.need(kinds == 1, "run.health", "must hold exactly one of http, tcp and exec", nil)
	if h.HTTP != nil {
		within(c, "run.health.http.port", h.HTTP.Port, 1, 65535)
		c.need(strings.HasPrefix(h.HTTP.Path, "/"), "run.health.http.path", "must start with /", h.HTTP.Path)
	}
	if h.TCP != nil {
		within(c, "run.health.tcp.port", h.TCP.Port, 1, 65535)
	}
	if h.Exec != nil {
		within(c, "run.health.exec.command.length", len(h.Exec.Command), 1, MaxProbeArgs)
		for i, arg := range h.Exec.Command {
			at := index("run.health.exec.command", i)
			c.need(i > 0 || arg != "", at, "must name a program", nil)
			c.need(!strings.Contains(arg, "\x00"), at, "must not hold a NUL", nil)
		}
	}
	within(c, "run.health.startPeriod", h.StartPeriod, Duration(time.Second), Duration(time.Hour))
	within(c, "run.health.interval", h.Interval, Duration(time.Second), Duration(time.Hour))
	within(c, "run.health.timeout", h.Timeout, Duration(100*time.Millisecond), Duration(time.Minute))
	within(c, "run.health.failures", h.Failures, 1, 100)
	within(c, "run.health.successes", h.Successes, 1, 100)
}

func index(p string, i int) string { return p + "[" + strconv.Itoa(i) + "]" }
