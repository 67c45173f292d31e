package executor_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// newBridge is for one node of a test, so that tests don't meet.
func newBridge(t *testing.T) workload.Bridge {
	t.Helper()
	process, node := os.Getpid(), bridges.Add(1)
	return workload.Bridge{
		Name:  fmt.Sprintf("gt%x-%x", process&0xffff, node),
		Pool:  netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", 100+process%100, node%256)),
		Pool6: netip.MustParsePrefix(fmt.Sprintf("fd67:7465:%x:%x::/64", process&0xffff, node)),
		State: t.TempDir(),
	}
}

var bridges atomic.Int32

// bridged is a node on which nothing of the network may be left.
func bridged(t *testing.T, userland bool) *node {
	t.Helper()
	n := newNode(t)
	n.bridge.Userland = userland
	n.restart()
	return n
}

// nothingOfNetwork runs after everything was removed.
func (n *node) nothingOfNetwork() {
	n.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(n.bridge.State, "*.json")); len(left) > 0 {
		n.t.Errorf("leases are left: %v", left)
	}
	if _, err := netlink.LinkByName(n.bridge.Name); err == nil {
		n.t.Errorf("bridge %s is left", n.bridge.Name)
	}
	if left := tables(n.t); strings.Contains(left, n.bridge.Name) {
		n.t.Errorf("tables are left: %s", left)
	}
}

func tables(t *testing.T) string {
	t.Helper()
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	all, err := nft.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range all {
		names = append(names, x.Name)
	}
	return strings.Join(names, " ")
}

// free returns a port that nobody has just now.
func free(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (n *node) server(port int) workload.Spec {
	s := n.spec(schema.ModeContainer, "web", "")
	s.Command = []string{"/bin/peer", "serve", "80"}
	s.Network = schema.NetworkBridge
	s.Ports = []schema.Port{{Host: port, Container: 80, Protocol: "tcp"}, {Host: port, Container: 80, Protocol: "udp"}}
	return s
}

func ask(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if network == "udp" {
		if _, err := c.Write([]byte("hello\n")); err != nil {
			return "", err
		}
	}
	return bufio.NewReader(c).ReadString('\n')
}

// outside runs f in a network namespace that reaches the node by a cable, as
// another machine would, and returns the node's addresses there.
func outside(t *testing.T, n *node, f func(v4, v6 string)) {
	t.Helper()
	sub := n.bridge.Pool.Addr().As4()[2]
	here, there := fmt.Sprintf("%s-o", n.bridge.Name), fmt.Sprintf("%s-p", n.bridge.Name)
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: here}, PeerName: there}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = netlink.LinkDel(link) }()
	v4, v6 := fmt.Sprintf("172.31.%d.1", sub), fmt.Sprintf("fd67:6f75:7400:%x::1", sub)
	plug(t, here, v4, v6)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		home, err := netns.Get()
		if err != nil {
			t.Error(err)
			return
		}
		defer home.Close()
		ns, err := netns.New()
		if err != nil {
			t.Error(err)
			return
		}
		defer ns.Close()
		h, err := netlink.NewHandleAt(home)
		if err != nil {
			t.Error(err)
			return
		}
		defer h.Close()
		peer, err := h.LinkByName(there)
		if err == nil {
			err = h.LinkSetNsFd(peer, int(ns))
		}
		if err != nil {
			t.Error(err)
			return
		}
		plug(t, there, fmt.Sprintf("172.31.%d.2", sub), fmt.Sprintf("fd67:6f75:7400:%x::2", sub))
		f(v4, v6)
	}()
	<-done
}

func plug(t *testing.T, name, v4, v6 string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Error(err)
		return
	}
	for _, a := range []string{v4 + "/24", v6 + "/64"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Error(err)
			return
		}
		if strings.Contains(a, ":") {
			addr.Flags = 0x02 // IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			t.Error(err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Error(err)
	}
}

// Ports of a container with a network of its own are reached from the node and
// from elsewhere, over TCP and UDP, IPv4 and IPv6, by rules and by sockets.
func TestBridge_PortsAreReached(t *testing.T) {
	t.Parallel()
	for _, userland := range []bool{false, true} {
		t.Run(fmt.Sprintf("userland=%v", userland), func(t *testing.T) {
			t.Parallel()
			n := bridged(t, userland)
			port := free(t)
			st := n.start(n.server(port))
			n.logs("web", "up")
			if len(st.Addresses) != 2 || !n.bridge.Pool.Contains(netip.MustParseAddr(st.Addresses[0])) || !n.bridge.Pool6.Contains(netip.MustParseAddr(st.Addresses[1])) {
				t.Errorf("addresses %v", st.Addresses)
			}
			reached := func(where, network, host string) {
				t.Helper()
				if got, err := ask(network, net.JoinHostPort(host, fmt.Sprint(port))); got != "answer from web\n" {
					t.Errorf("%s, %s to %s: %q %v", where, network, host, got, err)
				}
			}
			for _, network := range []string{"tcp", "udp"} {
				reached("from the node", network, "127.0.0.1")
			}
			outside(t, n, func(v4, v6 string) {
				for _, network := range []string{"tcp", "udp"} {
					reached("from outside", network, v4)
					reached("from outside", network, v6)
				}
			})
			// Another container reaches it by its address, by the node and by name.
			s := n.spec(schema.ModeContainer, "client", fmt.Sprintf(
				`for a in "%s 80" "node.internal %d"; do busybox nc $a </dev/null; done; busybox ip -o addr show eth0; cat /etc/hosts /etc/resolv.conf; echo over; sleep 1000`, st.Addresses[0], port))
			s.Network, s.Hostname = schema.NetworkBridge, "asker"
			s.DNS = &schema.DNS{Servers: []string{"192.0.2.53"}, Search: []string{"site.example"}}
			n.start(s)
			log := n.logs("client", "over")
			if strings.Count(log, "answer from web") != 2 {
				t.Errorf("container to container:\n%s", log)
			}
			for _, want := range []string{"\tasker", "nameserver 192.0.2.53\n", "search site.example\n", "127.0.0.1\tlocalhost"} {
				if !strings.Contains(log, want) {
					t.Errorf("log lacks %q:\n%s", want, log)
				}
			}
			// An attached application has the same network.
			a := n.spec(schema.ModeAttach, "probe", `busybox nc 127.0.0.1 80 </dev/null; busybox ip -o addr show eth0; echo over; sleep 1000`)
			a.Target = "web"
			n.start(a)
			if log := n.logs("probe", "over"); !strings.Contains(log, "answer from web") || !strings.Contains(log, st.Addresses[0]) {
				t.Errorf("attached:\n%s", log)
			}
			if _, err := n.Stop(context.Background(), "web", 0); err != nil {
				t.Fatal(err)
			}
			if got, err := ask("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				t.Errorf("answered after the stop: %q", got)
			}
			// The same application gets the same address again.
			if again := n.start(n.server(port)); again.Addresses[0] != st.Addresses[0] {
				t.Errorf("address %s, before %s", again.Addresses, st.Addresses)
			}
		})
	}
}

func TestBridge_PortTaken(t *testing.T) {
	t.Parallel()
	n := bridged(t, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, network := range []schema.Network{schema.NetworkBridge, schema.NetworkHost, ""} {
		s := n.spec(schema.ModeContainer, "web", "sleep 1000")
		s.Network, s.Ports = network, []schema.Port{{Host: port, Container: port, Protocol: "tcp"}}
		st, err := n.Start(context.Background(), s)
		if !errors.Is(err, workload.ErrPortTaken) || !strings.Contains(err.Error(), fmt.Sprintf("%d/tcp is in use", port)) {
			t.Errorf("network %q: %+v %v", network, st, err)
		}
	}
	// What a container has, another doesn't get.
	port = free(t)
	s := n.server(port)
	n.start(s)
	s.Name = "other"
	if _, err := n.Start(context.Background(), s); !errors.Is(err, workload.ErrPortTaken) {
		t.Errorf("two containers, one port: %v", err)
	}
	if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
		l.Close()
		t.Error("the node could bind a published port")
	}
}

// A shim that is killed leaves rules, a cable and a lease: the next stop, start
// or removal of the application takes them back.
func TestBridge_KilledShimLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"stop", "remove", "start"} {
		t.Run(end, func(t *testing.T) {
			n := bridged(t, false)
			s := n.server(free(t))
			st := n.start(s)
			killShim(t, n, "web")
			eventually(t, "the loss is noticed", func() bool { return n.get("web").State == workload.Failed })
			if !strings.Contains(tables(t), st.Instance) {
				t.Fatal("the rules went by themselves: nothing is tested")
			}
			var err error
			switch end {
			case "stop":
				_, err = n.Stop(context.Background(), "web", 0)
			case "remove":
				err = n.Remove(context.Background(), "web")
			case "start":
				n.start(s)
			}
			if err != nil {
				t.Fatal(err)
			}
			if left := tables(t); strings.Contains(left, st.Instance) {
				t.Errorf("rules are left: %s", left)
			}
			if _, err := netlink.LinkByName("gn-" + st.Instance); err == nil {
				t.Error("the cable is left")
			}
		})
	}
}

// What a whole node that went down has left is taken back by its neighbours.
func TestBridge_LeasesOfTheDeadAreReclaimed(t *testing.T) {
	t.Parallel()
	n := bridged(t, false)
	n.bridge.Pool = netip.PrefixFrom(n.bridge.Pool.Addr(), 29) // room for five
	n.restart()
	for i := range 5 {
		s := n.spec(schema.ModeContainer, fmt.Sprintf("app-%d", i), "sleep 1000")
		s.Network = schema.NetworkBridge
		n.start(s)
	}
	s := n.spec(schema.ModeContainer, "more", "sleep 1000")
	s.Network = schema.NetworkBridge
	if _, err := n.Start(context.Background(), s); err == nil || !strings.Contains(err.Error(), "exhausted") {
		t.Fatalf("a sixth: %v", err)
	}
	st := n.get("app-3")
	killShim(t, n, "app-3")
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	eventually(t, "it is dead", func() bool { return !alive(st.PID) })
	n.start(s)
	if _, err := netlink.LinkByName("gn-" + st.Instance); err == nil {
		t.Error("the cable of the dead is left")
	}
}

// Containers reach what is beyond the node, under the node's address, and not
// what the node keeps to itself.
func TestBridge_WayOut(t *testing.T) {
	t.Parallel()
	n := bridged(t, false)
	secret, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	go func() {
		for {
			c, err := secret.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	outside(t, n, func(v4, v6 string) {
		far4, far6 := v4[:len(v4)-1]+"2", v6[:len(v6)-1]+"2"
		peers := make(chan string, 2)
		for _, a := range []string{far4, far6} {
			l, err := net.Listen("tcp", net.JoinHostPort(a, "80"))
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				peers <- host
				c.Close()
			}()
		}
		s := n.spec(schema.ModeContainer, "app", fmt.Sprintf(
			`busybox nc %s 80; busybox nc %s 80
			busybox ip addr del 127.0.0.1/8 dev lo; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
			busybox ip route add 127.0.0.0/8 via %s || echo no route
			busybox nc -w 2 127.0.0.1 %d </dev/null && echo leaked; echo over; sleep 1000`,
			far4, far6, n.bridge.Pool.Addr().Next(), secret.Addr().(*net.TCPAddr).Port))
		s.Network, s.Privileged = schema.NetworkBridge, true
		n.startOn(t, s)
		got := map[string]bool{}
		for range 2 {
			select {
			case p := <-peers:
				got[p] = true
			case <-time.After(10 * time.Second):
				t.Errorf("never asked; log:\n%s", n.log("app"))
				return
			}
		}
		if !got[v4] || !got[v6] {
			t.Errorf("asked by %v, want the node's %s and %s", got, v4, v6)
		}
		if log := n.logs("app", "over"); strings.Contains(log, "leaked") || strings.Contains(log, "no route") {
			t.Errorf("the node's own 127.0.0.1 was reached:\n%s", log)
		}
	})
}

// startOn starts from another goroutine than the test's.
func (n *node) startOn(t *testing.T, s workload.Spec) {
	t.Helper()
	done := make(chan error)
	go func() {
		_, err := n.Start(context.Background(), s)
		done <- err
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
