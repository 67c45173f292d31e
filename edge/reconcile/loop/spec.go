package loop

import (
	"maps"
	"slices"

	"gnomon/edge/artifact"
	"gnomon/edge/reconcile"
	"gnomon/edge/workload"
)

// specOf says how to run an application from a component, whose image may have
// defaults. As everywhere else, run.command replaces the image's entry point and
// its arguments, run.args the arguments alone.
func specOf(a *reconcile.App, c artifact.Component, targetInstance string) workload.Spec {
	run := a.Want.Run
	command, args := c.Image.Entrypoint, c.Image.Cmd
	if len(run.Command) > 0 {
		command, args = run.Command, nil
	}
	if len(run.Args) > 0 {
		args = run.Args
	}
	env := make([]string, 0, len(run.Env))
	for _, name := range slices.Sorted(maps.Keys(run.Env)) {
		env = append(env, name+"="+run.Env[name])
	}
	s := workload.Spec{
		Name: a.Name, Mode: a.Want.Mode, Hash: a.Hash, Component: a.Want.Component, Root: c.Root, Digest: c.Digest,
		Target: a.Want.AttachTo, TargetInstance: targetInstance,
		Command: slices.Concat(command, args), Env: workload.MergeEnv(c.Image.Env, env), Dir: run.Dir, User: run.User,
		Hostname: run.Hostname, Privileged: run.Privileged, Serial: run.Serial, Files: run.Files, Reload: run.Reload,
		Resources: run.Resources, Network: run.Network, Ports: run.Ports, DNS: run.DNS, StopGrace: run.StopGrace.D(),
	}
	s.Devices, s.Capabilities, s.ReadOnly, s.Init = run.Devices, run.Capabilities, run.ReadOnly, run.Init
	s.Volumes, s.Timezone, s.UserNamespace = run.Volumes, run.Timezone, run.UserNamespace
	if run.Log != nil {
		s.Log = *run.Log
	}
	if s.Dir == "" {
		s.Dir = c.Image.WorkingDir
	}
	if s.User == "" {
		s.User = c.Image.User
	}
	return s
}
