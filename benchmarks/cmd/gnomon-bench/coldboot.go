package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"gnomon/simulator/cloudapi"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/edgeproc"
)

// coldApps is how many applications a node brings back.
const coldApps = 10

// measureColdBoot measures how long a node that lost its power and has no cloud
// takes until all its applications run, from the start of the agent, beside runc
// starting as many containers of the same program one after another. It runs in
// namespaces of its own, where a node can be made to believe that it rebooted.
func measureColdBoot(ctx context.Context, s settings) ([]Figure, error) {
	within, err := edgeproc.Inside()
	if err != nil {
		return nil, err
	}
	if within {
		return coldBoots(ctx, s)
	}
	cmd, err := edgeproc.Enclosed("--only", "coldboot", "--rounds", strconv.Itoa(s.Rounds), "-o", "json")
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var found struct{ Figures []Figure }
	err = json.Unmarshal(out, &found)
	return found.Figures, err
}

// coldBoots takes the figures; both sides in turns.
func coldBoots(ctx context.Context, s settings) ([]Figure, error) {
	dir, err := os.MkdirTemp("", "gnomon-coldboot-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	peer, err := newRunc(dir)
	if err != nil {
		return nil, err
	}
	var ours, alone, theirs []float64
	for _, side := range []struct {
		of   *[]float64
		mode func(i int) string
	}{{&ours, mixed}, {&alone, func(int) string { return "container" }}} {
		node, err := newColdNode(ctx, dir, side.mode)
		if err != nil {
			return nil, errors.Join(err, node.close())
		}
		for range s.Rounds {
			took, err := node.boot(ctx)
			if err == nil {
				*side.of = append(*side.of, took)
				took, err = peer.startAll()
			}
			if err != nil {
				return nil, errors.Join(err, node.close())
			}
			theirs = append(theirs, took)
		}
		if err := node.close(); err != nil {
			return nil, err
		}
	}
	first, second := theirs[:s.Rounds], theirs[s.Rounds:]
	return []Figure{
		figureOf(fmt.Sprintf("cold boot offline, %d applications, three modes", coldApps), "ms", ours...),
		figureOf(fmt.Sprintf("cold boot offline, %d containers", coldApps), "ms", alone...),
		figureOf(fmt.Sprintf("runc, %d containers one after another", coldApps), "ms", theirs...),
		figureOf("÷ runc, cold boot of three modes", "", ratios(ours, first)...).atMost(1),
		figureOf("÷ runc, cold boot of containers", "", ratios(alone, second)...).atMost(1),
	}, nil
}

// mixed spreads the applications over the modes: four containers, three
// processes attached to them, three of the host.
func mixed(i int) string {
	switch {
	case i < 4:
		return "container"
	case i < 7:
		return "attach"
	default:
		return "host"
	}
}

// idleCommand is what all of them run.
var idleCommand = []string{"sleep", "100000000"}

// coldNode is a node with applications and no cloud.
type coldNode struct {
	node *edgeproc.Node
	dir  string
}

// newColdNode gives a node its applications by a cloud, which then ends.
func newColdNode(ctx context.Context, dir string, mode func(i int) string) (*coldNode, error) {
	n := &coldNode{}
	var err error
	if n.dir, err = os.MkdirTemp(dir, "node-"); err != nil {
		return n, err
	}
	var programs [3]string
	for i, name := range []string{"gnomon", "gnomon-edge", "gnomon-shim"} {
		if programs[i], err = cloudproc.Beside(name); err != nil {
			return n, err
		}
	}
	cfg, remove, err := cloudproc.Scratch(programs[0])
	if err != nil {
		return n, err
	}
	defer remove()
	cloud, err := cloudproc.Start(cfg)
	if err != nil {
		return n, err
	}
	defer cloud.Kill()
	if err := cloud.Ready(ctx); err != nil {
		return n, err
	}
	if n.node, err = edgeproc.New(edgeproc.Config{Agent: programs[1], Shim: programs[2], Cloud: cfg.MQTT, Dir: n.dir}); err != nil {
		return n, err
	}
	if err := n.node.Start(); err != nil {
		return n, err
	}
	api, err := cloudapi.New(cloudapi.Options{Base: "http://" + cfg.HTTP})
	if err != nil {
		return n, err
	}
	defer api.Close()
	command, _ := json.Marshal(idleCommand)
	for i := range coldApps {
		desired := map[string]string{
			"container": `{"component":"file://` + filepath.Join(dir, "rootfs") + `","mode":"container","run":{"command":%s}}`,
			"attach":    `{"mode":"attach","attachTo":"app-` + strconv.Itoa(i%4) + `","run":{"command":%s}}`,
			"host":      `{"mode":"host","run":{"command":%s}}`,
		}[mode(i)]
		if _, err := api.PutApplication(ctx, n.node.Name, "app-"+strconv.Itoa(i), fmt.Appendf(nil, desired, command)); err != nil {
			return n, err
		}
	}
	return n, n.running(ctx)
}

// boot cuts the node's power and measures in milliseconds how long it takes to
// be back.
func (n *coldNode) boot(ctx context.Context) (float64, error) {
	if err := n.node.PowerCut(); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := n.node.Start(); err != nil {
		return 0, err
	}
	err := n.running(ctx)
	return float64(time.Since(began).Microseconds()) / 1000, err
}

// running waits until the agent says that everything runs.
func (n *coldNode) running(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(8 * time.Millisecond) // asking costs time as well
	defer tick.Stop()
	for {
		if s, err := n.node.Status(ctx); err == nil {
			up := 0
			for _, a := range s.Applications {
				if a.Phase == "running" && a.PID > 0 {
					up++
				}
			}
			if up == coldApps {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-n.node.Exited():
			return errors.New("the agent ended")
		case <-ctx.Done():
			return fmt.Errorf("wait for %d applications: %w", coldApps, ctx.Err())
		}
	}
}

func (n *coldNode) close() error {
	if n.node == nil {
		return nil
	}
	return n.node.Remove()
}

// runc starts the same program in as many containers by the Debian package.
type runc struct {
	binary  string
	root    string // of its state
	bundles []string
}

// newRunc makes a root file system, which both sides use, and the bundles.
func newRunc(dir string) (*runc, error) {
	binary, err := exec.LookPath("runc")
	if err != nil {
		if binary = "/usr/sbin/runc"; !executable(binary) {
			return nil, errors.New("runc is needed: apt-get install runc")
		}
	}
	rootfs := filepath.Join(dir, "rootfs")
	if err := edgeproc.Rootfs(rootfs, "/bin/busybox"); err != nil {
		return nil, err
	}
	r := &runc{binary: binary, root: filepath.Join(dir, "runc")}
	for i := range coldApps {
		bundle := filepath.Join(dir, "bundle-"+strconv.Itoa(i))
		if err := os.Mkdir(bundle, 0o755); err != nil {
			return nil, err
		}
		spec := exec.Command(binary, "spec", "--bundle", bundle)
		if out, err := spec.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("runc spec: %w: %s", err, out)
		}
		if err := adapt(filepath.Join(bundle, "config.json"), rootfs, i); err != nil {
			return nil, err
		}
		r.bundles = append(r.bundles, bundle)
	}
	return r, nil
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&0o111 != 0
}

// adapt makes runc's own proposal run what the node runs: the same program, no
// terminal, and, as by default on a node, the network of the machine.
func adapt(path, rootfs string, n int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec struct {
		rest    map[string]any
		Process map[string]any
		Linux   map[string]any
	}
	if err := errors.Join(json.Unmarshal(b, &spec.rest), json.Unmarshal(b, &spec)); err != nil {
		return err
	}
	spec.Process["terminal"], spec.Process["args"] = false, idleCommand
	var namespaces []any
	all, _ := spec.Linux["namespaces"].([]any)
	for _, ns := range all {
		if m, _ := ns.(map[string]any); m["type"] != "network" {
			namespaces = append(namespaces, ns)
		}
	}
	spec.Linux["namespaces"] = namespaces
	spec.Linux["cgroupsPath"] = fmt.Sprintf("/gnomon-sim/runc-%d-%d", os.Getpid(), n)
	spec.rest["process"], spec.rest["linux"], spec.rest["root"] = spec.Process, spec.Linux, map[string]any{"path": rootfs, "readonly": true}
	if b, err = json.Marshal(spec.rest); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// startAll starts all containers one after another and returns how long that
// took, in milliseconds. They are gone afterwards.
func (r *runc) startAll() (took float64, err error) {
	began := time.Now()
	for i, bundle := range r.bundles {
		cmd := exec.Command(r.binary, "--root", r.root, "run", "--detach", "--bundle", bundle, "app-"+strconv.Itoa(i))
		// A file, for the container keeps it: nobody could wait for the end of a pipe.
		file, err := os.CreateTemp(bundle, "said-")
		if err != nil {
			return 0, err
		}
		cmd.Stdout, cmd.Stderr = file, file
		err = cmd.Run()
		file.Close()
		if err != nil {
			said, _ := os.ReadFile(file.Name())
			return 0, errors.Join(fmt.Errorf("runc run: %w: %s", err, said), r.deleteAll())
		}
	}
	took = float64(time.Since(began).Microseconds()) / 1000
	return took, r.deleteAll()
}

func (r *runc) deleteAll() error {
	var errs []error
	for i := range r.bundles {
		if out, err := exec.Command(r.binary, "--root", r.root, "delete", "--force", "app-"+strconv.Itoa(i)).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("runc delete: %w: %s", err, out))
		}
	}
	return errors.Join(errs...)
}
