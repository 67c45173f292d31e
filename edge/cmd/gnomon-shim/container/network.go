package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/edge/workload/instance"
	"gnomon/edge/workload/network"
	"gnomon/schema"
)

// netting is the network of a container while it is started.
type netting struct {
	own     bool // the container's own network, not the node's
	cfg     network.Config
	lease   network.Lease
	ports   []schema.Port
	sockets []*os.File
	forward *network.Forwarder
	dir     string // of hosts and resolv.conf
}

// prepareNetwork takes addresses and ports. Ports that an application in the
// node's network is about to bind are only looked at.
func prepareNetwork(j launch.Job) (*netting, error) {
	r := j.Request
	n := &netting{own: r.Bridge != nil, ports: r.Spec.Ports, dir: j.Dir.Network()}
	if !n.own && r.Spec.DNS == nil {
		return n, n.look(r)
	}
	// There from before the first thing is taken until after the last is given back.
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return nil, err
	}
	if err := n.look(r); err != nil {
		return nil, err
	}
	if n.own {
		n.cfg = network.Config(*r.Bridge)
		var err error
		if n.sockets, err = network.Reserve(n.ports); err != nil {
			return nil, err
		}
		if n.lease, err = network.Take(n.cfg, r.Spec.Name, r.Instance, string(j.Dir), alive); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, n.writeNames(r)
}

// look finds out whether a port is taken, or can't be had by users that are nobody
// in the node's network. Those that the instance beside which this one is started has
// open it shares.
func (n *netting) look(r instance.Request) error {
	if n.own {
		return nil
	}
	if r.Range != nil {
		if err := reserved(r.Spec.Ports); err != nil {
			return err
		}
	}
	sockets, err := network.Reserve(alone(r))
	network.Close(sockets)
	return err
}

// alone are the ports of the node that an instance shares with no former one.
func alone(r instance.Request) (ports []schema.Port) {
	if r.Spec.Former != "" && r.FormerPorts == nil { // of an agent that didn't say which: all
		return nil
	}
	for _, p := range r.Spec.Ports {
		if !slices.ContainsFunc(r.FormerPorts, func(f schema.Port) bool { return f.Host == p.Host && f.Protocol == p.Protocol }) {
			ports = append(ports, p)
		}
	}
	return ports
}

// reserved tells whether a port is one that takes a capability of the node to bind.
func reserved(ports []schema.Port) error {
	const setting = "net.ipv4.ip_unprivileged_port_start"
	first := 1024
	if b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(setting, ".", "/")); err == nil {
		if v, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			first = v
		}
	}
	for _, p := range ports {
		if p.Host < first {
			return fmt.Errorf("%w: run.ports %d: in the node's network run.userNamespace auto has ports from %d on (%s); set run.network to bridge",
				workload.ErrUnsupported, p.Host, first, setting)
		}
	}
	return nil
}

// alive tells whether anything of an instance may still use its addresses.
func alive(owner string) bool {
	dir := instance.Dir(owner)
	if dir.Held() {
		return true
	}
	req, err := dir.ReadRequest()
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	g, err := cgroup.At(req.Cgroup)
	if err != nil {
		return true
	}
	pids, err := g.Pids()
	return err != nil || len(pids) > 0
}

func (n *netting) writeNames(r instance.Request) error {
	files := map[string]string{"resolv.conf": network.Resolv(r.Spec.DNS, n.own)}
	if n.own {
		files["hosts"] = network.Hosts(n.cfg, n.lease, hostname(r.Spec))
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// shape puts the network into the container's configuration.
func (n *netting) shape(c *configs.Config, j launch.Job, files []launch.Placed) {
	if n.own {
		c.Namespaces.Add(configs.NEWNET, "")
	}
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		source := filepath.Join(n.dir, filepath.Base(path))
		if _, err := os.Lstat(source); err != nil {
			if source, err = filepath.EvalSymlinks(path); err != nil || n.own {
				continue
			}
		}
		if !given(files, path) {
			c.Mounts = append(c.Mounts, &configs.Mount{
				Device: "bind", Source: source, Destination: path, Flags: unix.MS_BIND | unix.MS_RDONLY | noExec,
			})
		}
	}
}

// given tells whether the document has a file of its own there.
func given(files []launch.Placed, path string) bool {
	for _, f := range files {
		if f.Path == path {
			return true
		}
	}
	return false
}

// connect plugs a container in whose first process waits.
func (n *netting) connect(pid int) error {
	if !n.own {
		return nil
	}
	if err := network.Connect(n.cfg, n.lease, pid); err != nil {
		return err
	}
	if len(n.ports) == 0 {
		return nil
	}
	ok, err := network.Publish(n.cfg, n.lease, n.ports)
	if err != nil || ok {
		return err
	}
	n.forward, err = network.NewForwarder(n.lease, n.ports, n.sockets)
	n.sockets = nil
	return err
}

func (n *netting) started() launch.Started {
	s := launch.Started{Keep: n.sockets}
	if n.forward != nil {
		s.Serve = n.forward.Run
	}
	if n.own {
		s.Addresses = append(s.Addresses, n.lease.Address.String())
		if n.lease.Address6.IsValid() {
			s.Addresses = append(s.Addresses, n.lease.Address6.String())
		}
	}
	return s
}

// close gives ports back; Release does the rest.
func (n *netting) close() {
	network.Close(n.sockets)
	n.sockets = nil
}

// Release takes back what an instance has of the network, if it has any.
func Release(dir instance.Dir, req instance.Request) error {
	if req.Bridge != nil {
		if err := network.Release(network.Config(*req.Bridge), req.Instance); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir.Network())
}

// SweepNetwork takes back what the dead have of a bridge's network.
func SweepNetwork(b workload.Bridge) (instances []string, err error) {
	return network.Sweep(network.Config(b), alive)
}
