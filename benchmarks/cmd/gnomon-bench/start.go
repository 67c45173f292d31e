package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"gnomon/edge/workload"
	"gnomon/edge/workload/executor"
	"gnomon/schema"
	"gnomon/simulator/cloudproc"
)

// startsPerRound are taken of each kind, in turns.
const startsPerRound = 20

// measureStart compares the start of a container through our shim with `runc run`
// of the same root file system, program, namespaces, capabilities, mounts and
// filter of system calls: from the call until the program runs. Ours makes a
// writable layer over the root besides, and has on disk what it started.
func measureStart(ctx context.Context, s settings) (all []Figure, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("containers need root")
	}
	dir, err := os.MkdirTemp("", "gnomon-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &starts{dir: dir, name: fmt.Sprintf("bench-%d", os.Getpid())}
	if err := errors.Join(b.makeRoot(), b.makeBundle()); err != nil {
		return nil, err
	}
	shim, err := cloudproc.Beside("gnomon-shim")
	if err != nil {
		return nil, err
	}
	if b.node, err = executor.New(executor.Config{Data: filepath.Join(dir, "data"), Shim: shim, Cgroup: "/gnomon-bench/" + b.name}); err != nil {
		return nil, err
	}
	var ours, theirs, bridged, users []float64
	for range s.Rounds {
		var a, c, d, u []float64
		for range startsPerRound {
			for _, kind := range []struct {
				to    *[]float64
				start func(context.Context) (time.Duration, error)
			}{
				{&a, func(ctx context.Context) (time.Duration, error) { return b.ours(ctx, workload.Spec{}) }},
				{&c, b.theirs},
				{&d, func(ctx context.Context) (time.Duration, error) {
					return b.ours(ctx, workload.Spec{Network: schema.NetworkBridge})
				}},
				{&u, func(ctx context.Context) (time.Duration, error) {
					return b.ours(ctx, workload.Spec{UserNamespace: schema.UserNamespaceAuto})
				}},
			} {
				took, err := kind.start(ctx)
				if err != nil {
					return nil, err
				}
				*kind.to = append(*kind.to, float64(took.Microseconds())/1000)
			}
		}
		ours, theirs, bridged, users = append(ours, median(a)), append(theirs, median(c)), append(bridged, median(d)), append(users, median(u))
	}
	return []Figure{
		figureOf("start of a container", "ms", ours...),
		figureOf("runc run of the same", "ms", theirs...),
		figureOf("÷ runc run of the same", "", ratios(ours, theirs)...).atMost(1),
		figureOf("start of a container with a network of its own", "ms", bridged...),
		figureOf("start of a container with users of its own", "ms", users...),
	}, nil
}

// starts is what containers are started from.
type starts struct {
	dir, name string
	node      *executor.Executor
}

func (b *starts) root() string { return filepath.Join(b.dir, "bundle", "rootfs") }

// makeRoot makes a root file system out of nothing but busybox.
func (b *starts) makeRoot() error {
	for _, d := range []string{"bin", "etc", "tmp", "dev", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(b.root(), d), 0o755); err != nil {
			return err
		}
	}
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("busybox-static is needed: %w", err)
	}
	return errors.Join(os.WriteFile(filepath.Join(b.root(), "bin/busybox"), binary, 0o755),
		os.Symlink("busybox", filepath.Join(b.root(), "bin/sleep")), os.Chmod(b.dir, 0o755))
}

// program is what runs.
var program = []string{"/bin/sleep", "1000"}

// makeBundle writes what runc is to do, which is what our shim does by default.
func (b *starts) makeBundle() error {
	bundle := filepath.Dir(b.root())
	cmd := exec.Command("runc", "spec")
	cmd.Dir = bundle
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("runc spec: %w: %s; runc is in Debian's package of that name: .ci/deps bench", err, out)
	}
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c specs.Spec
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	c.Process.Args, c.Process.Terminal, c.Root.Readonly = program, false, false
	var caps []string
	for _, name := range schema.UsualCapabilities {
		caps = append(caps, "CAP_"+name)
	}
	c.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	var namespaces []specs.LinuxNamespace
	for _, n := range c.Linux.Namespaces {
		if n.Type != specs.NetworkNamespace {
			namespaces = append(namespaces, n)
		}
	}
	c.Linux.Namespaces = namespaces
	if c.Linux.Seccomp, err = seccomp.GetDefaultProfile(&c); err != nil {
		return err
	}
	if text, err = json.Marshal(c); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// ours starts and removes a container as the agent does.
func (b *starts) ours(ctx context.Context, s workload.Spec) (time.Duration, error) {
	s.Name, s.Mode, s.Root, s.Command = b.name, schema.ModeContainer, b.root(), program
	began := time.Now()
	_, err := b.node.Start(ctx, s)
	took := time.Since(began)
	if err == nil {
		_, err = b.node.Stop(ctx, b.name, 0)
	}
	return took, errors.Join(err, b.node.Remove(ctx, b.name))
}

func (b *starts) theirs(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := quiet(exec.CommandContext(ctx, "runc", "run", "--detach", "--bundle", filepath.Dir(b.root()), b.name))
	took := time.Since(began)
	return took, errors.Join(err, quiet(exec.CommandContext(ctx, "runc", "delete", "--force", b.name)))
}

// quiet runs a command with files for its output: what it starts keeps them, and a
// pipe would be waited for.
func quiet(cmd *exec.Cmd) error {
	out, err := os.CreateTemp("", "gnomon-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", cmd, err, text)
	}
	return nil
}
